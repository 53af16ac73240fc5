"""What the fields of a model card mean, apart from the card itself: help and completion need no more than that."""

from __future__ import annotations

from collections.abc import Mapping

MEANINGS: Mapping[str, str] = {
    "owner": "who answers for the model",
    "team": "which team keeps it",
    "purpose": "what is decided with it",
    "for_whom": "who uses it",
    "limitations": "where it is known to be wrong or untested",
    "licence": "under which terms it may be used",
    "data": "what it learnt from",
    "code": "the notebook or file that made it",
    "training": "how it was made: algorithm, target, split",
    "metrics": "how good it is, and on which data",
    "resources": "what one replica needs",
    "review_by": "when it is looked at again",
    "intended_use": "the uses it was made for",
    "out_of_scope": "the uses it must not be put to",
    "backup_owner": "who answers when the owner is away",
    "materiality": "what depends on it",
    "monitoring": "what is watched in operation",
    "rollback_plan": "what is done when it fails",
    "ai_act_role": "provider, deployer or not in scope (EU AI Act)",
    "human_oversight": "who can stop or overrule it, and how",
    "risks_and_mitigations": "what can go wrong and what is done about it",
    "fairness_slices": "groups for which quality is looked at apart",
    "cybersecurity": "how it is protected against misuse",
    "impact_assessment": "where the impact assessment lies",
}
"""One line of meaning for every field that can be mandatory; forms and errors show it."""
