"""What must never travel with a model: credentials and open connections, known by their names and looks.

The rules are blunt on purpose. What they refuse wrongly can be renamed, or read from where it belongs.
"""

from __future__ import annotations

import ast
import fnmatch
import re
from collections.abc import Iterator
from pathlib import PurePath

_FILES = (
    ".*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx", "*.keytab", "*.ovpn", "id_rsa*", "id_ecdsa*",
    "id_ed25519*", "credentials*", "*credentials.json", "*credentials.yaml", "*credentials.yml", "secret.*",
    "secrets.*", "client_secret*", "service[-_]account*", "token.json", "kubeconfig*", "htpasswd*",
)  # fmt: skip
ENDS_OF_NAMES = (
    r"password|passwd|passphrase|pwd|secret|api_?key|access_?key|secret_?key|private_?key|account_?key|auth_?key"
    r"|credentials?|token|bearer"
)
"""What the name of a credential ends with, as a regular expression."""

_NAMES = re.compile(rf"(?:^|[_\W])({ENDS_OF_NAMES})\d*$", re.IGNORECASE)
_PARTS_OF_NAMES = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")  # dbPassword
# What stands where a credential will be put in, names where it is, or says what is meant by it.
_PLACEHOLDER = re.compile(
    r"<.*>|\[.*\]|\{.*|\*+|\.+|\$.*|%\(.*|%\w+%|x+|your.*|change.?me|env[:(].*|![a-z].*|.*\.\.\.|os\.environ.*|none|null|text"
    r"|string|str|true|false|required|optional|hidden|undefined|[\w~./-]*\.(?:json|pem|ya?ml|txt|key|env|py|crt)",
    re.IGNORECASE,
)
ADDRESS = "an address with a password"
_LOOKS = (
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\s|\\n|\\r)*[\w+/]{3}")),
    (
        ADDRESS,
        re.compile(r"[a-z][a-z0-9+.-]{0,30}://(?!user\w*:pass\w*@)[^\s/:@\"'{}<>$%]{1,200}:[^\s/@\"'{}<>$%*]{1,200}@[\w.-]+"),
    ),
    ("a key of a cloud account", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{35}\b|AccountKey=[\w+/]{40,}=*")),
    (
        "a token",
        re.compile(
            r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}"
            r"|sk-(?=[\w-]*\d)[\w-]{20,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+)"
        ),
    ),
)  # fmt: skip
_MARKS_OF_LOOKS = ("-----BEGIN", "://", "AKIA", "ASIA", "AIza", "AccountKey=", "gh", "glpat-", "xox", "sk-", "eyJ")

_SHORTEST = 4

# By the module and name of a type or of one of its bases.
_CONNECTIONS = re.compile(
    r"^(?:sqlite3\.Connection|_?socket\.socket|_io\.(?:TextIOWrapper|FileIO|Buffered\w+)|subprocess\.Popen|ssl\.SSLSocket|ftplib\.FTP|smtplib\.SMTP"
    r"|http\.client\.\w+Connection|requests\.sessions\.Session|httpx\._client\.BaseClient|aiohttp\.client\.ClientSession"
    r"|urllib3\.(?:poolmanager\.PoolManager|connectionpool\.\w+)|sqlalchemy\.engine\.base\.(?:Engine|Connection)"
    r"|sqlalchemy\.orm\.session\.Session|psycopg\.\w+\.\w*Connection|psycopg2\.extensions\.connection"
    r"|pymysql\.connections\.Connection|pymongo\..*MongoClient|redis\.client\.Redis|duckdb\.DuckDBPyConnection"
    r"|_duckdb\.DuckDBPyConnection|botocore\.client\.BaseClient|boto3\.session\.Session|paramiko\.\w+\.\w*Client"
    r"|google\.cloud\..*Client|google\.auth\.credentials\.Credentials|azure\..*Client|azure\.identity\..*Credential"
    r"|kubernetes\.client\..*ApiClient|pyspark\.sql\.session\.SparkSession|pyspark\.\w*context\.SparkContext"
    r"|snowflake\.connector\.connection\.\w+|pyodbc\.Connection|openai\._base_client\.BaseClient"
    r"|anthropic\._base_client\.BaseClient|mlflow\.tracking\.client\.MlflowClient|model_platform\.client\.Client)$"
)


def forbidden_name(path: PurePath) -> str | None:
    """Why a file of this relative path never travels; None if it may."""
    if any(part.startswith(".") for part in path.parts):
        return "is a hidden file"
    name = path.name.lower()
    return "looks like credentials by its name" if any(fnmatch.fnmatch(name, one) for one in _FILES) else None


def secret_in_text(text: str) -> str | None:
    """What looks like a credential in a text, with its line: `a private key (line 3)`."""
    if not any(mark in text for mark in _MARKS_OF_LOOKS):
        return None
    for what, pattern in _LOOKS:
        if found := pattern.search(text):
            return f"{what} (line {text.count(chr(10), 0, found.start()) + 1})"
    return None


def secret_in_source(source: str) -> str | None:
    """What looks like a credential in Python source, also by the name that a text is given to."""
    if found := secret_in_text(source):
        return found
    for name, value, line in _named_texts(ast.parse(source)):
        if is_secret(name, value):
            return f"a credential in {name} (line {line})"
    return None


def _named_texts(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Every text in the source that stands beside a name: assigned, given as an argument, in a dictionary."""
    for node in ast.walk(tree):
        pairs: list[tuple[str | None, ast.expr | None]] = []
        if isinstance(node, ast.Assign):
            pairs = [(_name(target), node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            pairs = [(_name(node.target), node.value)]
        elif isinstance(node, ast.keyword):
            pairs = [(node.arg, node.value)]
        elif isinstance(node, ast.Dict):
            pairs = [(_name(key), value) for key, value in zip(node.keys, node.values, strict=True)]
        elif isinstance(node, ast.arguments):
            named = [*node.posonlyargs, *node.args][len(node.posonlyargs) + len(node.args) - len(node.defaults) :]
            pairs = [(one.arg, value) for one, value in zip(named, node.defaults, strict=True)]
            pairs += [(one.arg, value) for one, value in zip(node.kwonlyargs, node.kw_defaults, strict=True)]
        for name, value in pairs:
            if name and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield name, value.value, value.lineno


def _name(node: ast.expr | None) -> str | None:
    if isinstance(node, ast.Subscript):
        return _name(node.slice)
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    return getattr(node, "id", None) or getattr(node, "attr", None)


def is_secret(name: str, value: str) -> bool:
    """Whether a text under this name looks like a credential: `db_password`, not `password_column`."""
    if secret_in_text(value):
        return True
    found, named = (_NAMES.search(_PARTS_OF_NAMES.sub("_", one)) for one in (name, value))
    if found is None or named is not None or len(value) < _SHORTEST or _PLACEHOLDER.fullmatch(value):
        return False
    if re.fullmatch(r"[a-z_ ]*", value):
        # Plain lower-case words name a column or a field far more often than they are a password.
        return found[1].lower() in {"password", "passwd", "pwd"} and value.isalpha()
    if found[1].lower() in {"token", "bearer"}:  # the tokens of texts are short, or words
        return len(value) >= 16 and bool(re.search(r"\d", value)) and not re.search(r"\s", value)
    return not re.search(r"\s", value)


def connection_type(value: object) -> str | None:
    """The type of an open connection, client or file, as a person knows it; None for anything else."""
    for base in type(value).__mro__:
        if _CONNECTIONS.match(f"{base.__module__}.{base.__qualname__}"):
            return type(value).__name__
    return None
