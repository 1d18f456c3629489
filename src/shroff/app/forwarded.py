"""Deprecated names of a project's calls: each leads to a call of a part, for one release."""

from __future__ import annotations

import warnings
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# By part, the names that were calls of the project itself; `old=new` where the part has another name for it.
_MOVED: Final = {
    "agreements": "agrees asked forget_asked=forget",
    "applying": "apply take_up",
    "cases": "backlog case_desk=desk case_follower=follower case_settings=settings forget_written written_about",
    "cutoffs": "policy_tag set_cutoffs=write thresholds",
    "drafts": "activate_draft=activate approve_draft=approve check_draft=check draft=one drop_draft=drop has_drafts_in "
    "needs_second_person=need_second_person refuse_rules_in shadow_draft=shadow write_draft=write",
    "erasing": "erase",
    "health": "doctor drift leaving",
    "history": "cluster index_keys key_index",
    "inboxes": "begin_active follow_active inbox=brief running_inbox=running",
    "label_reports": "conflicts known_by maturity pending",
    "labelling": "hand label_file=add_file",
    "lake": "lake_reader=reader objects_at",
    "lanes": "check_change each_lane=each files_in_lane=files has_hashed is_parted lane_of=of lane_states=states "
    "lane_work=work load_files name_one parted_source refuse_lanes=refuse tell_lanes=tell "
    "waiting_for_lane=waiting",
    "letters": "drop_letter=drop forget_mails=forget look_at_mail open_mailer retry_letter=retry",
    "lists": "change_list=change hashed_in=hashed in_lists=holding list_add=add list_entries=entries "
    "list_remove=remove lists_need_second_person=need_second_person make_list=make refuse_alone "
    "write_list=write",
    "live": "answerer run take_up_told worker",
    "models": "challenge compare promote rollback shadow unchallenge",
    "notice_files": "case_notices notice=one notices_beside=store_beside open_notices=open_store tells "
    "tells_cases=case_notices told",
    "notices": "begin_telling check_telling=check confirming inactive notice_routes=routes notice_states=states "
    "office=services preview telling test_notice=test",
    "online": "online_features=get online_route=route write_online_features=write",
    "opened": "afresh asked_by begin_with check_with checked has_log hasher loaded now_ms open_log places read_once "
    "reading registry reload served_at systems taken via waiting who writing",
    "outside": "adapter_named avro_decoder open_cases open_controls open_files open_online open_people open_post "
    "open_provider open_registry open_sender open_sink open_source prepare_state reach",
    "people": "put_request record verify_audit",
    "production": "make_topics produce",
    "quarantine": "drop retry",
    "requests": "ask_writer=ask beside_writer=beside changed_behind end_of_log files_in_force hashing needs_log "
    "put_in_force",
    "retention": "prune snapshot",
    "rules": "import_rules put_back rule_file=file rule_files=files standing standings write_rules=write",
    "silence_requests": "approve_silence=approve ask_silence=ask drop_silence_wish=drop silence_wishes=all",
    "silences": "end_silence=end silence=add silence_entry=entry silences_need_second_person=need_second_person "
    "write_silence=write write_silence_end=write_end",
    "sinks": "deliver delivering outbox_drop=drop outbox_retry=retry sink_states=states stuck",
    "source": "forget_part=forget source_parts=all",
    "tables": "feature_tables=feature_parts write_features",
    "taking": "answers intake",
    "training": "import_model watch",
    "training_sets": "training_set=write training_set_again=again",
    "versions": "active_seq as_in_files beside changes_in file_stamps load_active source_line unapplied",
}
FORWARDED: Final[dict[str, str]] = {
    old: f"{part}.{new or old}"
    for part, names in _MOVED.items()
    for old, _, new in (name.partition("=") for name in names.split())
}


def old_name(project: object, name: str) -> object:
    """Value of a deprecated name of a project. Raises: AttributeError for an unknown name."""
    if name not in FORWARDED:
        raise AttributeError(f"{type(project).__name__!r} object has no attribute {name!r}", name=name, obj=project)
    _warn(f"project.{name}", FORWARDED[name], stacklevel=4)  # past `__getattr__`
    return attrgetter(FORWARDED[name])(project)


def called(part: str, method: str) -> Callable[..., Any]:
    """A `__call__` for a part whose name was a call of the project itself, with a warning."""

    def call(self: object, *args: object, **named: object) -> object:
        _warn(f"project.{part}()", f"{part}.{method}()", stacklevel=3)
        return getattr(self, method)(*args, **named)

    return call


def _warn(old: str, new: str, *, stacklevel: int) -> None:
    words = f"{old} is deprecated and will be removed in the next release; use project.{new}"
    warnings.warn(words, DeprecationWarning, stacklevel=stacklevel)
