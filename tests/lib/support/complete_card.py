"""A card that is complete at every tier."""

from __future__ import annotations

from typing import Any

DIGEST = "sha256:" + "0" * 64

COMPLETE: dict[str, Any] = {
    "tier": 3,
    "owner": "alice",
    "team": "retention",
    "purpose": "decides who is called",
    "for_whom": "call centre",
    "limitations": "untested for firms",
    "licence": "internal",
    "data": [{"name": "customers", "sha256": DIGEST, "rows": 3, "legal_basis": "contract, article 6"}],
    "code": {"path": "train.ipynb", "commit": "a" * 40},
    "training": {"how": "gradient boosting, 80/20"},
    "metrics": [{"name": "auc", "value": 0.8}],
    "resources": {"cpu": 0.5},
    "review_by": "2026-01-31",
    "intended_use": "weekly call lists",
    "out_of_scope": "pricing of any kind",
    "backup_owner": "bob",
    "materiality": "some calls a week",
    "monitoring": "drift of the inputs",
    "rollback_plan": "the version before",
    "ai_act_role": "deployer",
    "human_oversight": "the team can stop it",
    "risks_and_mitigations": "annoyed customers",
    "fairness_slices": ["age"],
    "cybersecurity": "behind the gateway",
    "impact_assessment": "DPIA-7",
}
