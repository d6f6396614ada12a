"""The laws, one function each: a module goes in, breaches come out."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.laws.source import Breach, Module, dotted, modules

Law = Callable[[Module], Iterator[tuple[int, str]]]

SERVICES = ("amparo_intake", "amparo_triage", "amparo_referral", "amparo_gateway")
DOMAIN_MAY_IMPORT = (
    "msgspec",
    "amparo_common.vocabulary",
    "amparo_common.events.types",
    "amparo_common.errors",
    "amparo_common.ids",
)
STORAGE = (
    "outbox.py",
    "relay.py",
    "inbox.py",
    "consumer.py",
    "dead_letters.py",
    "audit.py",
    "crypto/key_table.py",
    "db/",
    "audit/",
    "log/",
)
QUERY_WORDS = {"select", "insert", "update", "delete", "text"}
READS_ENVIRONMENT = {"os.environ", "os.getenv", "os.environb", "environ", "getenv"}
NETWORK = (
    "httpx",
    "httpx2",
    "httpcore2",
    "requests",
    "aiohttp",
    "urllib.request",
    "http.client",
    "urllib3",
    "websockets.client",
)
NETWORK_ROOMS = ("amparo_common/http", "amparo_common/testing/")
MEDIA = {"UploadFile", "File", "FileResponse", "multipart"}
LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception", "msg", "log"}
LOGGERS = {"log", "_log", "logger", "self._log", "self.log", "structlog.get_logger()"}
CLEAR_TEXT = frozenset(
    """
    TYPE action actor by change claimed_by completed_by countries country decided_by field group guidelines hash head
    headers id instructions key_id language languages name organisation outcome owner owners pack pack_digest
    partner_name partner_reference profile purpose reason reasons reference role safeguard service signature subject
    topic
    """.split()  # noqa: SIM905 - a block of words reads better than forty quoted ones
)
PARTNER_WORDS = re.compile(
    r"child pornography|child sex tourism|incidentType|reportAnnotation|espIdentifier|cybertip\.org", re.IGNORECASE
)
MOVES_POSITIONS = {"consumer.py", "log/sqlite.py", "log/kafka.py"}
LONGEST_MODULE, LONGEST_FUNCTION = 400, 60


def domain_is_pure(module: Module) -> Iterator[tuple[int, str]]:
    """Law 2: domain imports only the standard library, msgspec and the vocabulary."""
    if module.package not in SERVICES or not module.within.startswith("domain"):
        return
    own = f"{module.package}.domain"
    for name, line in module.imports():
        first = name.partition(".")[0]
        allowed = (
            first in sys.stdlib_module_names or name.startswith((own, *DOMAIN_MAY_IMPORT)) or first == "__future__"
        )
        if not allowed:
            yield line, f"domain imports {name}"


def rooms_keep_their_trade(module: Module) -> Iterator[tuple[int, str]]:
    """Law 3: aiokafka, queries and the environment each have one room."""
    for name, line in module.imports():
        if name.startswith("aiokafka") and module.within != "log/kafka.py":
            yield line, "only log/kafka.py imports aiokafka"
        word = name.rpartition(".")[2]
        if name.startswith(("sqlalchemy.", "sqlmodel.")) and word in QUERY_WORDS and not _may_query(module):
            yield line, f"{name} builds a query outside repository.py"
    for called, call in module.calls():
        if called.endswith(".exec_driver_sql") and not _may_query(module):
            yield call.lineno, "a statement outside repository.py"
    if module.name != "app.py":
        yield from _environment_reads(module)


def _may_query(module: Module) -> bool:
    in_storage = module.package == "amparo_common" and module.within.startswith(STORAGE)
    return module.name == "repository.py" or "/repository/" in module.path or in_storage


def _environment_reads(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute | ast.Name) and dotted(node) in READS_ENVIRONMENT:
            yield node.lineno, f"{dotted(node)} is read outside app.py"
    for called, call in module.calls():
        if called.rpartition(".")[2].endswith("Settings") and not call.args and not call.keywords:
            yield call.lineno, f"{called}() reads the environment outside app.py"


def only_the_outbox_publishes(module: Module) -> Iterator[tuple[int, str]]:
    """Law 4: only the relay appends to the log, only the consumer moves positions."""
    for called, call in module.calls():
        owner, _, method = called.rpartition(".")
        if (
            method == "append"
            and owner.rpartition(".")[2].lstrip("_") in {"log", "event_log"}
            and module.within != "relay.py"
        ):
            yield call.lineno, f"{called}() publishes outside the relay"
        holder = owner.rpartition(".")[2].lstrip("_")
        if (
            method == "commit"
            and holder == "consumer"
            and module.within not in {"consumer.py", "log/sqlite.py", "log/kafka.py"}
        ):
            yield call.lineno, f"{called}() moves a position outside consumer.py"


def batches_stay_batches(module: Module) -> Iterator[tuple[int, str]]:
    """Law 5: no ORM session writes at all; no logger or span for each item in the rooms of the hot path."""
    for called, call in module.calls():
        if called.rpartition(".")[2] in {"add", "add_all", "merge"} and "session" in called.rpartition(".")[0]:
            yield call.lineno, f"{called}() writes through an ORM session"
    if module.name not in {"consumer.py", "relay.py", "outbox.py", "inbox.py"}:
        return
    for loop in (node for node in ast.walk(module.tree) if isinstance(node, ast.For)):
        for node in ast.walk(loop):
            if isinstance(node, ast.Call) and _is_per_item(dotted(node.func)):
                yield node.lineno, f"{dotted(node.func)}() runs for each item of a batch"


def _is_per_item(called: str) -> bool:
    owner, _, method = called.rpartition(".")
    return (owner in LOGGERS and method in LOG_METHODS) or method in {"start_span", "start_as_current_span"}


def consumers_know_what_they_saw(module: Module) -> Iterator[tuple[int, str]]:
    """Law 6: a consumer's use cases pass the inbox, or are guarded by the aggregate's version alone (gateway)."""
    consumes = module.package in SERVICES and module.package != "amparo_gateway" and module.within == "service.py"
    if consumes and not any(called.rpartition(".")[2] == "fresh" for called, _ in module.calls()):
        yield 1, "no use case asks the inbox (inbox.fresh) which events are new"


def no_media_no_fetching(module: Module) -> Iterator[tuple[int, str]]:
    """Laws 7 and 8: no endpoint takes media, and only the guarded client's module speaks HTTP to anybody."""
    for name, line in module.imports():
        if name.rpartition(".")[2] in MEDIA and name.startswith(("fastapi", "starlette")):
            yield line, f"{name} takes or gives files"
        if name.startswith(NETWORK) and not any(room in module.path for room in NETWORK_ROOMS):
            yield line, f"{name} is imported outside amparo_common/http"


def nothing_sensitive_in_the_clear(module: Module) -> Iterator[tuple[int, str]]:
    """Law 9: events carry no free text in clear, log calls carry fixed words and no formatted values."""
    if module.within.startswith("events/types"):
        yield from _clear_text_fields(module)
    for called, call in module.calls():
        owner, _, method = called.rpartition(".")
        speaks = owner in LOGGERS and method in LOG_METHODS and module.within != "telemetry.py"
        if speaks and call.args and not _is_words(call.args[0]):
            yield call.lineno, f"{called}() formats a value into its message"


def _clear_text_fields(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            holds_text = any(isinstance(part, ast.Name) and part.id == "str" for part in ast.walk(node.annotation))
            if holds_text and node.target.id not in CLEAR_TEXT:
                yield node.lineno, f"event field {node.target.id} is text in clear"


def _is_words(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def lists_have_a_scope(module: Module) -> Iterator[tuple[int, str]]:
    """Law 10: every reading query of the gateway takes the caller's visibility scope."""
    if module.package != "amparo_gateway" or not (module.name == "repository.py" or "/repository/" in module.path):
        return
    for function in module.functions():
        arguments = [
            argument.arg for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
        ]
        if not function.name.startswith("_") and "session" in arguments and "scope" not in arguments:
            yield function.lineno, f"{function.name}() reads without a scope"


def partner_words_stay_with_the_partner(module: Module) -> Iterator[tuple[int, str]]:
    """Law 12: a partner's vocabulary lives only in that partner's adapter."""
    if "/adapters/ncmec" in module.path:
        return
    for number, line in enumerate(module.text.splitlines(), 1):
        if found := PARTNER_WORDS.search(line):
            yield number, f"{found.group()!r} belongs in a partner's adapter"


def rooms_stay_small(module: Module) -> Iterator[tuple[int, str]]:
    """Law 13: modules stay under 400 lines, functions under 60."""
    length = module.text.count("\n")
    if length > LONGEST_MODULE:
        yield 1, f"{length} lines; split by meaning at {LONGEST_MODULE}"
    for function in module.functions():
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > LONGEST_FUNCTION:
            yield function.lineno, f"{function.name}() has {lines} lines; the most is {LONGEST_FUNCTION}"


LAWS: dict[int, Law] = {
    2: domain_is_pure,
    3: rooms_keep_their_trade,
    4: only_the_outbox_publishes,
    5: batches_stay_batches,
    6: consumers_know_what_they_saw,
    7: no_media_no_fetching,
    9: nothing_sensitive_in_the_clear,
    10: lists_have_a_scope,
    12: partner_words_stay_with_the_partner,
    13: rooms_stay_small,
}


#: What tests share stands under the same roof but is no part of the product: only its size is a matter of law.
_TESTING, _LAWS_OF_TESTING = "amparo_common/testing/", {13}


def _holds_for(number: int, module: Module) -> bool:
    return _TESTING not in module.path or number in _LAWS_OF_TESTING


def breaches(root: Path) -> list[Breach]:
    """Hold every module under `root` against every law."""
    return [
        Breach(law=number, path=module.path, line=line, why=why)
        for module in modules(root)
        for number, law in LAWS.items()
        if _holds_for(number, module)
        for line, why in law(module)
    ]
