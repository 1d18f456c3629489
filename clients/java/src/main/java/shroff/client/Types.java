// Made by tools/clients.py from the OpenAPI document; do not edit.
package shroff.client;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import java.util.Map;

/** The documents of the service. Absent and null values are null. */
public interface Types {
    /** Make a draft active; it replaces the rule and its trial. Laws that are required must be proved with it. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ActivateDraft(
            @JsonProperty("etag") String etag,
            @JsonProperty("file") String file,
            @JsonProperty("reason") String reason) {}

    /** The file of a rule, and whether the log uses it yet. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record AdoptedFile(
            @JsonProperty("file") String file,
            @JsonProperty("in_force") Boolean inForce,
            @JsonProperty("why_not") String whyNot) {}

    /** The number of alerts that fire now. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record AlertCount(
            @JsonProperty("firing") Long firing) {}

    /** The label of an alert. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record AlertLabel(
            @JsonProperty("verdict") String verdict,
            @JsonProperty("source") String source,
            @JsonProperty("known_at") String knownAt) {}

    /** Approve a change that another person requested, or withdraw it; both take the right that the change takes. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record AnswerApproval(
            @JsonProperty("approve") Boolean approve,
            @JsonProperty("note") String note) {}

    /** The changes that were applied, and the sequence number from which the log uses them. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record AppliedChanges(
            @JsonProperty("changed") List<FileChange> changed,
            @JsonProperty("seq") Long seq,
            @JsonProperty("applied") Boolean applied,
            @JsonProperty("why_not") String whyNot) {}

    /** Whether they are active in the log yet, and a warning where arm B was promoted and is not proven better. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record AppliedCutoffs(
            @JsonProperty("in_force") Boolean inForce,
            @JsonProperty("why_not") String whyNot,
            @JsonProperty("warning") String warning) {}

    /** The result in words. A link or a key that was made is shown this one time. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ApprovalAnswer(
            @JsonProperty("says") String says) {}

    /** Changes that wait for a second person. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Approvals(
            @JsonProperty("approvals") List<ChangeAsked> approvals) {}

    /** Approve a draft that others wrote. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ApproveDraft(
            @JsonProperty("etag") String etag,
            @JsonProperty("file") String file,
            @JsonProperty("reason") String reason) {}

    /** A draft that was saved: its text, the rule in words, and its hits in the last 30 days with their money. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record AssistantDraft(
            @JsonProperty("rule") String rule,
            @JsonProperty("text") String text,
            @JsonProperty("says") String says,
            @JsonProperty("events") Long events,
            @JsonProperty("hits") Long hits,
            @JsonProperty("money") String money,
            @JsonProperty("why_not") String whyNot,
            @JsonProperty("tries") Long tries) {}

    /** A row that does not match, and the reason. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record AuditBreak(
            @JsonProperty("row") Long row,
            @JsonProperty("why") String why) {}

    /** The result. `breaks` are the first 100 rows that do not match, `rows` those before the first. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record AuditCheck(
            @JsonProperty("ok") Boolean ok,
            @JsonProperty("rows") Long rows,
            @JsonProperty("breaks") List<AuditBreak> breaks) {}

    /** A row of the audit log. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record AuditRow(
            @JsonProperty("number") Long number,
            @JsonProperty("at") String at,
            @JsonProperty("who") String who,
            @JsonProperty("name") String name,
            @JsonProperty("via") String via,
            @JsonProperty("action") String action,
            @JsonProperty("subject") String subject,
            @JsonProperty("from") Object from,
            @JsonProperty("to") Object to,
            @JsonProperty("previous") String previous,
            @JsonProperty("hash") String hash) {}

    /** A page of the audit log, the newest first. `next` is the cursor of the following page. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record AuditRows(
            @JsonProperty("rows") List<AuditRow> rows,
            @JsonProperty("next") String next) {}

    /**
     * The draft compared with the project without it: outcomes, rules and money of both, with some changed
     * events.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record BacktestReport(
            @JsonProperty("draft") List<String> draft,
            @JsonProperty("events") Long events,
            @JsonProperty("seconds") Double seconds,
            @JsonProperty("from") String from,
            @JsonProperty("to") String to,
            @JsonProperty("as_of") String asOf,
            @JsonProperty("money") String money,
            @JsonProperty("outcomes") List<ReportCell> outcomes,
            @JsonProperty("immature") Long immature,
            @JsonProperty("recorded") ReportRecorded recorded,
            @JsonProperty("balance") ReportBalance balance,
            @JsonProperty("costs") ReportCosts costs,
            @JsonProperty("learnt_from") ReportLearnt learntFrom,
            @JsonProperty("remarks") List<String> remarks,
            @JsonProperty("rules") List<ReportRule> rules,
            @JsonProperty("rules_gone") Map<String, Long> rulesGone,
            @JsonProperty("changed") Long changed,
            @JsonProperty("changed_rows") List<ReportRow> changedRows,
            @JsonProperty("exploration") List<ReportExploration> exploration,
            @JsonProperty("undecided") Long undecided,
            @JsonProperty("unknowable") String unknowable) {}

    /**
     * A back-test to run: `rules` are files by their names, and `rule` takes the saved draft of that rule.
     * Without `wait` it runs in the background.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record BacktestRequest(
            @JsonProperty("rules") Map<String, String> rules,
            @JsonProperty("policy") String policy,
            @JsonProperty("model") String model,
            @JsonProperty("from") String from,
            @JsonProperty("to") String to,
            @JsonProperty("as_of") String asOf,
            @JsonProperty("rule") String rule,
            @JsonProperty("wait") Boolean wait_) {}

    /**
     * One back-test: its progress, and its report once it is done. `rule` and `etag` say of which rule it is,
     * and of which text of it; `done` and `total` count records that are read.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record BacktestRun(
            @JsonProperty("id") String id,
            @JsonProperty("name") String name,
            @JsonProperty("by") String by,
            @JsonProperty("began_at_ms") Long beganAtMs,
            @JsonProperty("state") String state,
            @JsonProperty("rule") String rule,
            @JsonProperty("etag") String etag,
            @JsonProperty("from") String from,
            @JsonProperty("to") String to,
            @JsonProperty("as_of") String asOf,
            @JsonProperty("done") Long done,
            @JsonProperty("total") Long total,
            @JsonProperty("why_not") String whyNot,
            @JsonProperty("outcome") String outcome,
            @JsonProperty("report") BacktestReport report) {}

    /** All back-tests of drafts, newest first, without their reports. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record BacktestRuns(
            @JsonProperty("backtests") List<BacktestRun> backtests) {}

    /**
     * What a changed rule would have touched among all `events` of its type: hits, decisions, and these by
     * outcome.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record BlastRadius(
            @JsonProperty("rule") String rule,
            @JsonProperty("as_of") String asOf,
            @JsonProperty("since") String since,
            @JsonProperty("events") Long events,
            @JsonProperty("touched") List<TouchedEvents> touched) {}

    /** Progress of the day. `reviews_a_day` is the review capacity of the policy. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Capacity(
            @JsonProperty("reviews_a_day") Long reviewsADay,
            @JsonProperty("answered_today") Long answeredToday,
            @JsonProperty("closed_today") Long closedToday,
            @JsonProperty("opened_today") Long openedToday,
            @JsonProperty("open") CaseTotals open,
            @JsonProperty("closed_an_hour") Double closedAnHour,
            @JsonProperty("opened_an_hour") Double openedAnHour,
            @JsonProperty("clear_at") String clearAt,
            @JsonProperty("second_looks") SecondLooks secondLooks) {}

    /** A case; `alerts` is the number of its alerts. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Case(
            @JsonProperty("id") Long id,
            @JsonProperty("tag") String tag,
            @JsonProperty("entity") String entity,
            @JsonProperty("key") String key,
            @JsonProperty("state") String state,
            @JsonProperty("opened") String opened,
            @JsonProperty("due") String due,
            @JsonProperty("left_s") Long leftS,
            @JsonProperty("assignee") Person assignee,
            @JsonProperty("lock_until") String lockUntil,
            @JsonProperty("snoozed_until") String snoozedUntil,
            @JsonProperty("outcome") String outcome,
            @JsonProperty("score") Double score,
            @JsonProperty("rule") String rule,
            @JsonProperty("reason") String reason,
            @JsonProperty("stake") Money stake,
            @JsonProperty("customer") String customer,
            @JsonProperty("verdict") String verdict,
            @JsonProperty("closed") String closed,
            @JsonProperty("closed_by") Person closedBy,
            @JsonProperty("second_look") Boolean secondLook,
            @JsonProperty("disagreement") Boolean disagreement,
            @JsonProperty("first_verdict") String firstVerdict,
            @JsonProperty("tags") List<String> tags,
            @JsonProperty("checks") List<CaseCheck> checks,
            @JsonProperty("queue") String queue,
            @JsonProperty("alerts") Long alerts) {}

    /** A snoozed case, and the number that undoes the snooze. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseActed(
            @JsonProperty("case") Case case_,
            @JsonProperty("undo") Long undo,
            @JsonProperty("undo_until") String undoUntil) {}

    /** An alert of a case. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseAlert(
            @JsonProperty("event") String event,
            @JsonProperty("seq") Long seq,
            @JsonProperty("time") String time,
            @JsonProperty("due") String due,
            @JsonProperty("outcome") String outcome,
            @JsonProperty("score") Double score,
            @JsonProperty("rule") String rule,
            @JsonProperty("rules") List<String> rules,
            @JsonProperty("reason") String reason,
            @JsonProperty("amount") Money amount,
            @JsonProperty("verdict") String verdict,
            @JsonProperty("decided") String decided,
            @JsonProperty("label") AlertLabel label,
            @JsonProperty("customer") String customer) {}

    /** Assign a case to a user by name, or to nobody. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseAssignment(
            @JsonProperty("to") String to) {}

    /** An item of the checklist of a case, and whether it is ticked. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseCheck(
            @JsonProperty("item") String item,
            @JsonProperty("text") String text,
            @JsonProperty("required") Boolean required,
            @JsonProperty("done") Boolean done) {}

    /** Tick an item of a case's checklist, or open it again. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseChecked(
            @JsonProperty("item") String item,
            @JsonProperty("clear") Boolean clear) {}

    /** The claimed case, or null if there is none. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseClaimed(
            @JsonProperty("case") Case case_) {}

    /**
     * A decided case, the list entries changed with it, and the number that undoes all of it. Commands write the
     * labels at once and have no such number.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseDecided(
            @JsonProperty("case") Case case_,
            @JsonProperty("lists") List<ListChange> lists,
            @JsonProperty("undo") Long undo,
            @JsonProperty("undo_until") String undoUntil) {}

    /** Why a case is escalated, and the name of the user who decides it; null for anybody else. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseEscalation(
            @JsonProperty("text") String text,
            @JsonProperty("to") String to) {}

    /** A case for which an action failed; `changed` says whether another user changed it first. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseFailed(
            @JsonProperty("id") Long id,
            @JsonProperty("detail") String detail,
            @JsonProperty("changed") Boolean changed) {}

    /** A file of a case. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseFile(
            @JsonProperty("file") Long file,
            @JsonProperty("name") String name,
            @JsonProperty("media_type") String mediaType,
            @JsonProperty("bytes") Long bytes,
            @JsonProperty("sha256") String sha256,
            @JsonProperty("by") Person by,
            @JsonProperty("at") String at) {}

    /** A line of a case's history. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseLine(
            @JsonProperty("at") String at,
            @JsonProperty("by") Person by,
            @JsonProperty("what") String what,
            @JsonProperty("words") String words,
            @JsonProperty("more") Map<String, Object> more) {}

    /** A page of cases, and the totals of all matching cases. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseList(
            @JsonProperty("cases") List<Case> cases,
            @JsonProperty("totals") CaseTotals totals,
            @JsonProperty("next") String next) {}

    /** An entry of a list to add with the answer, such as a blocked card. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseListEntry(
            @JsonProperty("list") String list,
            @JsonProperty("value") String value,
            @JsonProperty("note") String note,
            @JsonProperty("expires_at") String expiresAt) {}

    /** Run a macro: its note, its tags, and its answer, escalation or snooze in one step. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseMacro(
            @JsonProperty("macro") String macro) {}

    /** Move a case to another queue. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseMove(
            @JsonProperty("queue") String queue) {}

    /** A question to a customer about an event of a case. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseQuestion(
            @JsonProperty("event") String event,
            @JsonProperty("asked") String asked,
            @JsonProperty("until") String until,
            @JsonProperty("verdict") String verdict,
            @JsonProperty("answered") String answered,
            @JsonProperty("trouble") String trouble,
            @JsonProperty("words") String words) {}

    /**
     * A case after a rule was silenced for its key, or the silence ended; `why_not` says why this is not active
     * yet.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseSilenced(
            @JsonProperty("id") Long id,
            @JsonProperty("tag") String tag,
            @JsonProperty("entity") String entity,
            @JsonProperty("key") String key,
            @JsonProperty("state") String state,
            @JsonProperty("opened") String opened,
            @JsonProperty("due") String due,
            @JsonProperty("left_s") Long leftS,
            @JsonProperty("assignee") Person assignee,
            @JsonProperty("lock_until") String lockUntil,
            @JsonProperty("snoozed_until") String snoozedUntil,
            @JsonProperty("outcome") String outcome,
            @JsonProperty("score") Double score,
            @JsonProperty("rule") String rule,
            @JsonProperty("reason") String reason,
            @JsonProperty("stake") Money stake,
            @JsonProperty("customer") String customer,
            @JsonProperty("verdict") String verdict,
            @JsonProperty("closed") String closed,
            @JsonProperty("closed_by") Person closedBy,
            @JsonProperty("second_look") Boolean secondLook,
            @JsonProperty("disagreement") Boolean disagreement,
            @JsonProperty("first_verdict") String firstVerdict,
            @JsonProperty("tags") List<String> tags,
            @JsonProperty("checks") List<CaseCheck> checks,
            @JsonProperty("queue") String queue,
            @JsonProperty("alerts") Long alerts,
            @JsonProperty("in_force") Boolean inForce,
            @JsonProperty("why_not") String whyNot) {}

    /** Snooze a case until a time. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseSnooze(
            @JsonProperty("until") String until) {}

    /** A case in some sentences, each number of which is in its record. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseSummary(
            @JsonProperty("id") Long id,
            @JsonProperty("summary") String summary) {}

    /** One of several cases; with a tag, the version that the caller read. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseTag(
            @JsonProperty("id") Long id,
            @JsonProperty("tag") String tag) {}

    /** Set the tags of a case, open or closed. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseTags(
            @JsonProperty("tags") String tags) {}

    /** A text: a note, or the reason of an action. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseText(
            @JsonProperty("text") String text) {}

    /** The number of cases, and the money at stake. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseTotals(
            @JsonProperty("count") Long count,
            @JsonProperty("stake") Money stake) {}

    /** The action to undo. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseUndo(
            @JsonProperty("undo") Long undo) {}

    /** Decide a case: it closes at once; labels of its events are written 8 s later unless you undo it. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseVerdict(
            @JsonProperty("verdict") String verdict,
            @JsonProperty("event") String event,
            @JsonProperty("reason") String reason,
            @JsonProperty("lists") List<CaseListEntry> lists,
            @JsonProperty("refund") String refund) {}

    /** A saved filter. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseView(
            @JsonProperty("name") String name,
            @JsonProperty("query") String query,
            @JsonProperty("shared") Boolean shared,
            @JsonProperty("owner") Person owner,
            @JsonProperty("count") Long count) {}

    /** Saved filters. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseViews(
            @JsonProperty("views") List<CaseView> views) {}

    /** A case with its newest thousand alerts and history entries, notes, files, and questions to the customer. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CaseWhole(
            @JsonProperty("id") Long id,
            @JsonProperty("tag") String tag,
            @JsonProperty("entity") String entity,
            @JsonProperty("key") String key,
            @JsonProperty("state") String state,
            @JsonProperty("opened") String opened,
            @JsonProperty("due") String due,
            @JsonProperty("left_s") Long leftS,
            @JsonProperty("assignee") Person assignee,
            @JsonProperty("lock_until") String lockUntil,
            @JsonProperty("snoozed_until") String snoozedUntil,
            @JsonProperty("outcome") String outcome,
            @JsonProperty("score") Double score,
            @JsonProperty("rule") String rule,
            @JsonProperty("reason") String reason,
            @JsonProperty("stake") Money stake,
            @JsonProperty("customer") String customer,
            @JsonProperty("verdict") String verdict,
            @JsonProperty("closed") String closed,
            @JsonProperty("closed_by") Person closedBy,
            @JsonProperty("second_look") Boolean secondLook,
            @JsonProperty("disagreement") Boolean disagreement,
            @JsonProperty("first_verdict") String firstVerdict,
            @JsonProperty("tags") List<String> tags,
            @JsonProperty("checks") List<CaseCheck> checks,
            @JsonProperty("queue") String queue,
            @JsonProperty("alerts") List<CaseAlert> alerts,
            @JsonProperty("alert_count") Long alertCount,
            @JsonProperty("refunded") Money refunded,
            @JsonProperty("notes") List<CaseLine> notes,
            @JsonProperty("history") List<CaseLine> history,
            @JsonProperty("files") List<CaseFile> files,
            @JsonProperty("questions") List<CaseQuestion> questions) {}

    /** The results for several cases, and the number that undoes all of them. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CasesActed(
            @JsonProperty("cases") List<Case> cases,
            @JsonProperty("failed") List<CaseFailed> failed,
            @JsonProperty("undo") Long undo,
            @JsonProperty("undo_until") String undoUntil) {}

    /** Decide, claim or snooze several cases. Cases that cannot be changed are reported; the others are changed. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CasesAction(
            @JsonProperty("action") String action,
            @JsonProperty("cases") List<CaseTag> cases,
            @JsonProperty("verdict") String verdict,
            @JsonProperty("reason") String reason,
            @JsonProperty("until") String until) {}

    /** Cases in the queue: those that can be worked on now. Snoozed ones are counted apart. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CasesOpen(
            @JsonProperty("open") Long open,
            @JsonProperty("snoozed") Long snoozed,
            @JsonProperty("at_stake") String atStake,
            @JsonProperty("first_due") String firstDue) {}

    /** The updated cases, and those that another user has changed since. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CasesUndone(
            @JsonProperty("cases") List<Case> cases,
            @JsonProperty("changed") List<Case> changed) {}

    /**
     * A change that waits for a second person. `rows` are to be put into a list and `out` to be taken out, as it
     * was at the request; `more` counts those not shown. `ended` is empty, or the reason why it cannot be
     * approved any more: what it was for has changed since.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ChangeAsked(
            @JsonProperty("at") String at,
            @JsonProperty("by") String by,
            @JsonProperty("ended") String ended,
            @JsonProperty("etag") String etag,
            @JsonProperty("more") Long more,
            @JsonProperty("out") List<String> out,
            @JsonProperty("rows") List<Entry> rows,
            @JsonProperty("says") String says,
            @JsonProperty("subject") String subject) {}

    /**
     * The nearest value of one feature or field that would give another outcome. `until` is the farthest value
     * of that range; None if it is open-ended.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ChangeLine(
            @JsonProperty("code") String code,
            @JsonProperty("value") Object value,
            @JsonProperty("until") Object until,
            @JsonProperty("now") Object now,
            @JsonProperty("outcome") String outcome,
            @JsonProperty("text") String text) {}

    /** Make the project's files the active version, from the next event on. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ChangesStep(
            @JsonProperty("etag") String etag) {}

    /** Their cost, and the curve. The ETag is that of policy.yaml. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CheapestThresholds(
            @JsonProperty("model") String model,
            @JsonProperty("event") String event,
            @JsonProperty("review_at") Double reviewAt,
            @JsonProperty("decline_at") Double declineAt,
            @JsonProperty("expected_cost") String expectedCost,
            @JsonProperty("expected_cost_low") String expectedCostLow,
            @JsonProperty("expected_cost_high") String expectedCostHigh,
            @JsonProperty("elsewhere") OutOfFoldCost elsewhere,
            @JsonProperty("elsewhere_why_not") String elsewhereWhyNot,
            @JsonProperty("drawn") String drawn,
            @JsonProperty("cost_without_score") String costWithoutScore,
            @JsonProperty("review_at_interval") List<Object> reviewAtInterval,
            @JsonProperty("decline_at_interval") List<Object> declineAtInterval,
            @JsonProperty("best") CostPoint best,
            @JsonProperty("now") CostPoint now,
            @JsonProperty("tried") CostPoint tried,
            @JsonProperty("curve") List<CostPoint> curve,
            @JsonProperty("reviews_a_day") Double reviewsADay,
            @JsonProperty("reviews_by_rules") Double reviewsByRules,
            @JsonProperty("rules_beyond_people") Boolean rulesBeyondPeople,
            @JsonProperty("reviews_busiest_day") Long reviewsBusiestDay,
            @JsonProperty("days_over") Long daysOver,
            @JsonProperty("days") Long days,
            @JsonProperty("events") Long events,
            @JsonProperty("frauds") Long frauds,
            @JsonProperty("share") Double share,
            @JsonProperty("chosen_on_these_events") Boolean chosenOnTheseEvents,
            @JsonProperty("in_force") Boolean inForce,
            @JsonProperty("why_not") String whyNot) {}

    /**
     * A rule that closes cases: those of the past that it would have closed, and since its approval its sample.
     * `state` says whether it is approved, stopped or new. `missed` are closed cases that labels call fraud.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CloseRuleFigures(
            @JsonProperty("name") String name,
            @JsonProperty("state") String state,
            @JsonProperty("since") String since,
            @JsonProperty("by") String by,
            @JsonProperty("past") KnownCases past,
            @JsonProperty("fraud_money") String fraudMoney,
            @JsonProperty("may_act") Boolean mayAct,
            @JsonProperty("sample") KnownCases sample,
            @JsonProperty("closed") Long closed,
            @JsonProperty("missed") Long missed) {}

    /** Rules that close cases, in their order; their past cases are those that opened in the last `days` days. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CloseRules(
            @JsonProperty("rules") List<CloseRuleFigures> rules,
            @JsonProperty("days") Long days) {}

    /** One label of an event with conflicting labels. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ConflictingLabel(
            @JsonProperty("verdict") String verdict,
            @JsonProperty("source") String source,
            @JsonProperty("known_at") String knownAt,
            @JsonProperty("in_force") Boolean inForce) {}

    /** Two thresholds and their results per day. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CostPoint(
            @JsonProperty("review_at") Double reviewAt,
            @JsonProperty("decline_at") Double declineAt,
            @JsonProperty("cost") String cost,
            @JsonProperty("missed_cost") String missedCost,
            @JsonProperty("false_declines_cost") String falseDeclinesCost,
            @JsonProperty("reviews") Double reviews,
            @JsonProperty("reviews_cost") String reviewsCost,
            @JsonProperty("frauds_stopped") Double fraudsStopped) {}

    /** Costs to write beside the thresholds; `missed` is a percentage of what policy.yaml says now. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Costs(
            @JsonProperty("missed") Double missed,
            @JsonProperty("false_decline") Double falseDecline,
            @JsonProperty("review") Double review,
            @JsonProperty("reviews_a_day") Double reviewsADay) {}

    /**
     * The counts to compute; days as `2026-03-01`, the last one included. All event types by default. `by` is
     * `day`, `week` (of Monday to Sunday, cut at the ends), `source` or a field, whose values split each day.
     * With `source` only events of that source count. Days are in `zone`, by default the project's.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CountQuestion(
            @JsonProperty("startDate") String startDate,
            @JsonProperty("endDate") String endDate,
            @JsonProperty("eventTypes") List<String> eventTypes,
            @JsonProperty("by") String by,
            @JsonProperty("zone") String zone,
            @JsonProperty("zeros") Boolean zeros,
            @JsonProperty("source") String source,
            @JsonProperty("where") Map<String, String> where) {}

    /**
     * The number of events of a type on a day; a week is shown as its Monday. `value` is that of the field, null
     * if missing.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CountRow(
            @JsonProperty("day") String day,
            @JsonProperty("type") String type,
            @JsonProperty("count") Long count,
            @JsonProperty("value") String value) {}

    /** Counts by day, type and value, and their total. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CountRows(
            @JsonProperty("rows") List<CountRow> rows,
            @JsonProperty("total") Long total) {}

    /** An event type, whether it is decided, and the fields that `by` accepts. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CountableType(
            @JsonProperty("type") String type,
            @JsonProperty("decided") Boolean decided,
            @JsonProperty("fields") List<String> fields) {}

    /** The event types of the project, and the sources by which events came. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CountableTypes(
            @JsonProperty("types") List<CountableType> types,
            @JsonProperty("sources") List<String> sources) {}

    /**
     * Customers of the last seven days: `yes` and `no` are their labels, by mail or however they came;
     * `asked_7d`, `no_answer` and `open` count questions by mail. `held` is of all their answers.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record CustomerAnswers(
            @JsonProperty("asked_7d") Long asked7d,
            @JsonProperty("yes") Long yes,
            @JsonProperty("no") Long no,
            @JsonProperty("no_answer") Long noAnswer,
            @JsonProperty("open") Long open,
            @JsonProperty("held") List<HeldAnswers> held) {}

    /**
     * A decision. `seq` is its sequence number, null if nothing was written. `experiments` are those that
     * decided about it: their names are in `rules` (arm B) or `shadow_rules` (arm A) too, and are no rules.
     * `answered` is the override: the outcome that the sender gave before this decision. `explanation` is
     * present on request. Of a type with `money in` a currency, `original` is its amount as sent, and `amount`
     * what it is in the project's currency by this `rate`. Both are null without a rate, which the `remark`
     * says.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Decision(
            @JsonProperty("amount") String amount,
            @JsonProperty("answered") String answered,
            @JsonProperty("as_of_seq") Long asOfSeq,
            @JsonProperty("currency") String currency,
            @JsonProperty("event") String event,
            @JsonProperty("experiments") List<ExperimentLine> experiments,
            @JsonProperty("explanation") Explanation explanation,
            @JsonProperty("exploration") Drawn exploration,
            @JsonProperty("features") Map<String, Object> features,
            @JsonProperty("id") String id,
            @JsonProperty("original") String original,
            @JsonProperty("outcome") String outcome,
            @JsonProperty("rate") String rate,
            @JsonProperty("reasons") List<Reason> reasons,
            @JsonProperty("receipt") String receipt,
            @JsonProperty("remark") String remark,
            @JsonProperty("rules") List<String> rules,
            @JsonProperty("score") Double score,
            @JsonProperty("seq") Long seq,
            @JsonProperty("shadow_rules") List<String> shadowRules,
            @JsonProperty("versions") Map<String, String> versions) {}

    /** A funnel of funnels.yaml: its user, its steps, and the field that splits it. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DeclaredFunnel(
            @JsonProperty("funnel") String funnel,
            @JsonProperty("user") String user,
            @JsonProperty("steps") List<String> steps,
            @JsonProperty("split") String split) {}

    /** The funnels of funnels.yaml. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DeclaredFunnels(
            @JsonProperty("funnels") List<DeclaredFunnel> funnels) {}

    /**
     * What the score's declines are worth, by explored events, each weighted by 1 / its propensity. The
     * precision is the share of frauds among declines, with its 95 % interval; `fraud_money` is that of these
     * frauds.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DeclineValue(
            @JsonProperty("explored") Long explored,
            @JsonProperty("precision") Double precision,
            @JsonProperty("low") Double low,
            @JsonProperty("high") Double high,
            @JsonProperty("fraud_money") String fraudMoney) {}

    /**
     * The result of a change of the active models. `champion` and `before` are the champion's ids after and
     * before the call, empty for none. `failed` are gates that prevent a promotion. `why_not` says why a written
     * change is not active yet. `unused` says that the champion's score changes no decision, with the remedy.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Deployment(
            @JsonProperty("event") String event,
            @JsonProperty("model") String model,
            @JsonProperty("what") String what,
            @JsonProperty("champion") String champion,
            @JsonProperty("before") String before,
            @JsonProperty("failed") List<GateResult> failed,
            @JsonProperty("in_force") Boolean inForce,
            @JsonProperty("why_not") String whyNot,
            @JsonProperty("unused") String unused) {}

    /** A stage of a dispute as it is sent: `due` is the last moment of an answer, `dispute` the provider's id. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DisputeInput(
            @JsonProperty("event") String event,
            @JsonProperty("stage") String stage,
            @JsonProperty("known_at") String knownAt,
            @JsonProperty("due") String due,
            @JsonProperty("network") String network,
            @JsonProperty("code") String code,
            @JsonProperty("dispute") String dispute,
            @JsonProperty("reason") String reason,
            @JsonProperty("amount") String amount,
            @JsonProperty("verdict") String verdict) {}

    /** Disputes: those that can be answered first, the earliest due date first. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DisputeList(
            @JsonProperty("disputes") List<DisputeRow> disputes) {}

    /** A page of the `count` disputes that match, of which `late` can be answered and are past their due date. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DisputePage(
            @JsonProperty("disputes") List<DisputeRow> disputes,
            @JsonProperty("count") Long count,
            @JsonProperty("late") Long late,
            @JsonProperty("next") String next) {}

    /**
     * A dispute at its latest stage; `verdict` is that of its label. `eligible` says whether it meets Visa's
     * Compelling Evidence 3.0, and `why`.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DisputeRow(
            @JsonProperty("event") String event,
            @JsonProperty("stage") String stage,
            @JsonProperty("due") String due,
            @JsonProperty("eligible") Boolean eligible,
            @JsonProperty("why") String why,
            @JsonProperty("known_at") String knownAt,
            @JsonProperty("verdict") String verdict,
            @JsonProperty("network") String network,
            @JsonProperty("code") String code,
            @JsonProperty("dispute") String dispute,
            @JsonProperty("amount") String amount,
            @JsonProperty("pack") Map<String, Object> pack,
            @JsonProperty("files") List<String> files) {}

    /** Counts of the stages, as of labels, and the disputes that have new ones. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DisputesImported(
            @JsonProperty("disputes") List<DisputeRow> disputes,
            @JsonProperty("read") Long read,
            @JsonProperty("appended") Long appended,
            @JsonProperty("pending") Long pending,
            @JsonProperty("duplicates") Long duplicates,
            @JsonProperty("quarantined") Long quarantined) {}

    /** A draft's text. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DraftBody(
            @JsonProperty("text") String text) {}

    /** The result of checking a text: errors, warnings, tests, and its form. `more` counts those not listed. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DraftCheck(
            @JsonProperty("ok") Boolean ok,
            @JsonProperty("etag") String etag,
            @JsonProperty("mistakes") List<DraftMistake> mistakes,
            @JsonProperty("elsewhere") List<String> elsewhere,
            @JsonProperty("warnings") List<DraftMistake> warnings,
            @JsonProperty("says") String says,
            @JsonProperty("tests") List<DraftTest> tests,
            @JsonProperty("more") Map<String, Long> more,
            @JsonProperty("text") String text,
            @JsonProperty("form") RuleForm form) {}

    /**
     * Hits of a text among the events of the last 30 days of the log, and their amount. Until it is `complete`,
     * it is of the events from `since` on, and the same question counts more of them. Without `as_of` they could
     * not be counted: `why_not` says why.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DraftCount(
            @JsonProperty("as_of") String asOf,
            @JsonProperty("since") String since,
            @JsonProperty("complete") Boolean complete,
            @JsonProperty("events") Long events,
            @JsonProperty("hits") Long hits,
            @JsonProperty("money") String money,
            @JsonProperty("why_not") String whyNot) {}

    /** An error or warning with its position in a text; `instead` is the suggested word, if known. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DraftMistake(
            @JsonProperty("line") Long line,
            @JsonProperty("column") Long column,
            @JsonProperty("length") Long length,
            @JsonProperty("message") String message,
            @JsonProperty("hint") String hint,
            @JsonProperty("instead") String instead) {}

    /** Draft a rule from a sentence, check it, run its tests, count its hits and save it as a draft. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DraftRule(
            @JsonProperty("sentence") String sentence) {}

    /** The result of one test of a rule. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DraftTest(
            @JsonProperty("name") String name,
            @JsonProperty("events") Long events,
            @JsonProperty("passed") Boolean passed,
            @JsonProperty("problem") String problem) {}

    /**
     * The result of exploration for a decline by the score: `explored` says whether the event was approved. An
     * approval, with `would_be` approve, has one if it is in the sample that analysts review.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Drawn(
            @JsonProperty("explored") Boolean explored,
            @JsonProperty("propensity") Double propensity,
            @JsonProperty("would_be") String wouldBe) {}

    /** A bin in words, and its shares of the reference and of the recent rows, in [0, 1]. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DriftBin(
            @JsonProperty("says") String says,
            @JsonProperty("before") Double before,
            @JsonProperty("now") Double now) {}

    /** The drift of one item, for metrics. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DriftFigure(
            @JsonProperty("name") String name,
            @JsonProperty("psi") Double psi,
            @JsonProperty("has_moved") Boolean hasMoved,
            @JsonProperty("missing_now") Double missingNow,
            @JsonProperty("unseen") Double unseen,
            @JsonProperty("is_unclear") Boolean isUnclear,
            @JsonProperty("missing_before") Double missingBefore,
            @JsonProperty("bins") List<DriftBin> bins) {}

    /** The last drift check of an event type; `reference` and `recent` describe the periods that it compared. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DriftLook(
            @JsonProperty("looked_at") String lookedAt,
            @JsonProperty("as_of") String asOf,
            @JsonProperty("model") String model,
            @JsonProperty("reference_rows") Long referenceRows,
            @JsonProperty("recent_rows") Long recentRows,
            @JsonProperty("limit") Double limit,
            @JsonProperty("figures") List<DriftFigure> figures,
            @JsonProperty("reference") String reference,
            @JsonProperty("recent") String recent) {}

    /** A step on a day. Users dropped off by the end of the previous day are either recovered or still out. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DropOffRow(
            @JsonProperty("funnel") String funnel,
            @JsonProperty("day") String day,
            @JsonProperty("step") String step,
            @JsonProperty("dropped_off") Long droppedOff,
            @JsonProperty("dropped_off_before") Long droppedOffBefore,
            @JsonProperty("recovered") Long recovered,
            @JsonProperty("still_out") Long stillOut,
            @JsonProperty("value") String value) {}

    /** The rule whose draft was deleted. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DroppedDraft(
            @JsonProperty("dropped") String dropped) {}

    /** The number of dropped entries. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record DroppedEntries(
            @JsonProperty("dropped") Long dropped) {}

    /** The experiment of policy.yaml, and whether all keys get the policy of arm B from now on; with a reason. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record EndExperiment(
            @JsonProperty("rule") String rule,
            @JsonProperty("reason") String reason,
            @JsonProperty("promote") Boolean promote) {}

    /** An event of a key. `features` are the features of its entity in that decision. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record EntityEvent(
            @JsonProperty("event") String event,
            @JsonProperty("features") Map<String, Object> features,
            @JsonProperty("fields") Map<String, Object> fields,
            @JsonProperty("id") String id,
            @JsonProperty("outcome") String outcome,
            @JsonProperty("rules") List<String> rules,
            @JsonProperty("score") Double score,
            @JsonProperty("seq") Long seq,
            @JsonProperty("time") String time) {}

    /** A key of an entity. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record EntityKey(
            @JsonProperty("entity") String entity,
            @JsonProperty("key") String key) {}

    /**
     * Keys of an entity, those with the newest events first. All events behind `looked_to` were searched; 0 is
     * all of the log. Continue there with `next`.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record EntityKeys(
            @JsonProperty("entity") String entity,
            @JsonProperty("keys") List<ListedKey> keys,
            @JsonProperty("looked_to") Long lookedTo,
            @JsonProperty("next") String next) {}

    /**
     * The values that a key shares with others at a moment. Each link has the other keys, and of the events with
     * the value the number, the frauds, the money, the first and the last time. `hubs` are values that too many
     * keys share to link any. `members` are the key and those that it is linked to. `ring` counts all that any
     * number of steps reach, the key included, up to 1,000.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record EntityLinksAnswer(
            @JsonProperty("entity") String entity,
            @JsonProperty("key") String key,
            @JsonProperty("as_of") String asOf,
            @JsonProperty("links") List<KeyLink> links,
            @JsonProperty("hubs") List<Hub> hubs,
            @JsonProperty("members") List<LinkedKey> members,
            @JsonProperty("ring") Long ring) {}

    /** A related key: another key of the same entity, the keys that both share, and the number of events. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record EntityNeighbour(
            @JsonProperty("events") Long events,
            @JsonProperty("key") String key,
            @JsonProperty("through") List<EntityKey> through) {}

    /**
     * One key of an entity: events, features, flags and neighbors. `left_out` are keys of other entities that
     * link nobody, since more than 20 keys share them.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record EntityView(
            @JsonProperty("entity") String entity,
            @JsonProperty("features") Map<String, Object> features,
            @JsonProperty("features_of") String featuresOf,
            @JsonProperty("flags") List<FlagShown> flags,
            @JsonProperty("key") String key,
            @JsonProperty("left_out") List<EntityKey> leftOut,
            @JsonProperty("looked_to") Long lookedTo,
            @JsonProperty("neighbours") List<EntityNeighbour> neighbours,
            @JsonProperty("next") String next,
            @JsonProperty("timeline") List<EntityEvent> timeline) {}

    /** One line of a list, as written. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Entry(
            @JsonProperty("value") String value,
            @JsonProperty("note") String note,
            @JsonProperty("added_by") String addedBy,
            @JsonProperty("expires_at") String expiresAt) {}

    /** The number of decided events without a label, `days` old or older, up to the `days` of the next row. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record EventsWithoutLabel(
            @JsonProperty("days") Long days,
            @JsonProperty("events") Long events) {}

    /**
     * Two random groups of keys: arm B, for which the rule takes effect, and arm A. `saved` is what arm B saves
     * of 1,000 keys for which the rule was true, with its 95 % confidence interval. All events so far are
     * mature, and count, from the day `mature_from` on.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Experiment(
            @JsonProperty("rule") String rule,
            @JsonProperty("arms") List<ExperimentArm> arms,
            @JsonProperty("saved") String saved,
            @JsonProperty("low") String low,
            @JsonProperty("high") String high,
            @JsonProperty("mature_from") String matureFrom) {}

    /** Mature events of a group of keys at which the rule was true, and what 1,000 keys cost by the policy. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ExperimentArm(
            @JsonProperty("keys") Long keys,
            @JsonProperty("cost_per_1000") String costPer1000,
            @JsonProperty("from") String from,
            @JsonProperty("to") String to,
            @JsonProperty("value") String value,
            @JsonProperty("events") Long events,
            @JsonProperty("volume") String volume,
            @JsonProperty("approved") Long approved,
            @JsonProperty("challenged") Long challenged,
            @JsonProperty("reviewed") Long reviewed,
            @JsonProperty("declined") Long declined,
            @JsonProperty("fraud") FraudFigures fraud,
            @JsonProperty("caught") Long caught,
            @JsonProperty("missed") Long missed,
            @JsonProperty("false_declines") Long falseDeclines,
            @JsonProperty("unlabeled_declines") Long unlabeledDeclines,
            @JsonProperty("money_saved") String moneySaved,
            @JsonProperty("review_fraud_rate") Double reviewFraudRate,
            @JsonProperty("decline_rate") OutcomeRate declineRate,
            @JsonProperty("false_positive_rate") OutcomeRate falsePositiveRate,
            @JsonProperty("money") ResultMoney money,
            @JsonProperty("mature") Boolean mature,
            @JsonProperty("estimate") FraudEstimate estimate,
            @JsonProperty("change") Map<String, Double> change) {}

    /** An experiment of policy.yaml and the arm of this event's key: A, or B, which the experiment changes. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ExperimentLine(
            @JsonProperty("name") String name,
            @JsonProperty("arm") String arm) {}

    /** The explanation that `explain` adds to a decision; `model` if one scored the event. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Explanation(
            @JsonProperty("features") List<FeatureLine> features,
            @JsonProperty("rules") List<RuleLine> rules,
            @JsonProperty("model") ModelPart model,
            @JsonProperty("experiments") List<ExperimentLine> experiments) {}

    /** A user without a second factor. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FactorlessUser(
            @JsonProperty("user") UserDocument user) {}

    /**
     * The features of a key at a point in time. `events` is the number of events and labels of the key up to
     * then, 0 for a key that the log never saw. `left_out` names features without a value between events, with
     * the reason.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FactsDocument(
            @JsonProperty("entity") String entity,
            @JsonProperty("key") String key,
            @JsonProperty("as_of") String asOf,
            @JsonProperty("events") Long events,
            @JsonProperty("features") Map<String, Object> features,
            @JsonProperty("left_out") Map<String, String> leftOut) {}

    /** One feature of a decision. `key` is None if the event has no key of the entity. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FeatureLine(
            @JsonProperty("name") String name,
            @JsonProperty("definition") String definition,
            @JsonProperty("entity") String entity,
            @JsonProperty("key") String key,
            @JsonProperty("value") Object value,
            @JsonProperty("earlier") Usual earlier) {}

    /**
     * A feature and its values at the newest decided events. `missing` is a share in [0, 1], None without
     * events. `low`, `median` and `high` are at 5, 50 and 95 % of the values that are there, in words; `bins`
     * count the values in equal steps from `low` to `high`, those beyond at the ends. `frequent` has the most
     * frequent values of a text with their shares.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FeatureProfile(
            @JsonProperty("name") String name,
            @JsonProperty("words") String words,
            @JsonProperty("expression") String expression,
            @JsonProperty("type") String type,
            @JsonProperty("cost") String cost,
            @JsonProperty("read_by") List<String> readBy,
            @JsonProperty("missing") Double missing,
            @JsonProperty("distinct") Long distinct,
            @JsonProperty("low") String low,
            @JsonProperty("median") String median,
            @JsonProperty("high") String high,
            @JsonProperty("bins") List<Long> bins,
            @JsonProperty("frequent") List<List<Object>> frequent) {}

    /** The features that decisions of a type show, by name; `tried` is the expression that was asked for. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FeatureProfiles(
            @JsonProperty("event") String event,
            @JsonProperty("events") Long events,
            @JsonProperty("features") List<FeatureProfile> features,
            @JsonProperty("tried") FeatureProfile tried) {}

    /**
     * A file or setting whose current content is not active. `takes` is `now` for changes that can be applied to
     * a running service, else `restart`; `difference` is a unified diff of the texts, where both are known; of a
     * table the number of rows added, changed and gone, and these rows.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FileChange(
            @JsonProperty("file") String file,
            @JsonProperty("change") String change,
            @JsonProperty("takes") String takes,
            @JsonProperty("difference") List<String> difference) {}

    /** Changes that are only in files; `etag` identifies them. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FileChanges(
            @JsonProperty("changes") List<FileChange> changes,
            @JsonProperty("etag") String etag) {}

    /** One check. `state` is ok, note or wrong; `cure` is the remedy. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Finding(
            @JsonProperty("subject") String subject,
            @JsonProperty("state") String state,
            @JsonProperty("words") String words,
            @JsonProperty("cure") String cure) {}

    /** An alert of Prometheus that fires now; null for what it does not say. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FiringAlert(
            @JsonProperty("name") String name,
            @JsonProperty("severity") String severity,
            @JsonProperty("summary") String summary,
            @JsonProperty("instance") String instance,
            @JsonProperty("runbook_url") String runbookUrl,
            @JsonProperty("since") String since) {}

    /** The verdict on a flag. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FlagJudgement(
            @JsonProperty("accuracy") String accuracy,
            @JsonProperty("reason") String reason) {}

    /**
     * A flag with the fields of its event (null once the event has left the log after `keep`). `also` are the
     * other flags of that event: a label is of the event, so it judges them all.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FlagShown(
            @JsonProperty("accuracy") String accuracy,
            @JsonProperty("also") List<String> also,
            @JsonProperty("created") String created,
            @JsonProperty("entity") String entity,
            @JsonProperty("event") String event,
            @JsonProperty("fields") Map<String, Object> fields,
            @JsonProperty("id") String id,
            @JsonProperty("key") String key,
            @JsonProperty("reason") String reason,
            @JsonProperty("rule") String rule,
            @JsonProperty("seq") Long seq,
            @JsonProperty("time") String time,
            @JsonProperty("updated") String updated) {}

    /** A page of flags, the newest first. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Flags(
            @JsonProperty("flags") List<FlagShown> flags,
            @JsonProperty("next") String next) {}

    /** The thresholds with which one fold was evaluated. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FoldThresholds(
            @JsonProperty("review_at") Double reviewAt,
            @JsonProperty("decline_at") Double declineAt,
            @JsonProperty("cost") String cost) {}

    /** A draft's text, and a form whose values replace those of the text. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FormBody(
            @JsonProperty("text") String text,
            @JsonProperty("form") RuleForm form) {}

    /** A condition. Without a comparison the operand is an expression shown as text. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FormRow(
            @JsonProperty("operand") String operand,
            @JsonProperty("comparison") String comparison,
            @JsonProperty("value") String value) {}

    /** The 90 % interval of the fraud money of a row once all of it is known. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FraudEstimate(
            @JsonProperty("low") String low,
            @JsonProperty("high") String high) {}

    /** Known fraud: events, their money, and that money in basis points of the volume (null without volume). */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FraudFigures(
            @JsonProperty("count") Long count,
            @JsonProperty("money") String money,
            @JsonProperty("basis_points") Double basisPoints) {}

    /**
     * The funnel, all by default, and the days: `2026-03-01`, the last one included; by default the three days
     * up to yesterday. `split` is a field; by default that of the funnel, and none if empty. `zone` is by
     * default the project's.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FunnelDays(
            @JsonProperty("funnel") String funnel,
            @JsonProperty("startDate") String startDate,
            @JsonProperty("endDate") String endDate,
            @JsonProperty("zone") String zone,
            @JsonProperty("split") String split) {}

    /**
     * Funnels over some days: drop-off and recovery by day, users by step, and the same by day of the first
     * step. `dropped_off` of a row counts from the first day to the end of its day.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FunnelDocument(
            @JsonProperty("first") String first,
            @JsonProperty("last") String last,
            @JsonProperty("zone") String zone,
            @JsonProperty("rows") List<DropOffRow> rows,
            @JsonProperty("steps") List<StepRow> steps,
            @JsonProperty("trend") List<TrendRow> trend) {}

    /**
     * The users to list: `number` is such as `still_out:signed_up`, `day` the last one by default. `after` is
     * `next` of the previous page.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record FunnelUsers(
            @JsonProperty("funnel") String funnel,
            @JsonProperty("number") String number,
            @JsonProperty("day") String day,
            @JsonProperty("startDate") String startDate,
            @JsonProperty("endDate") String endDate,
            @JsonProperty("zone") String zone,
            @JsonProperty("limit") Long limit,
            @JsonProperty("after") String after) {}

    /**
     * The result of a gate: the value, its limit in words, and whether it passed. `note` describes the
     * comparison.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record GateResult(
            @JsonProperty("name") String name,
            @JsonProperty("value") Double value,
            @JsonProperty("limit") String limit,
            @JsonProperty("passed") Boolean passed,
            @JsonProperty("note") String note) {}

    /** A guard with its newest finding: watching, waiting for labels, blind without any, stopped, or off. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record GuardState(
            @JsonProperty("name") String name,
            @JsonProperty("guard") String guard,
            @JsonProperty("state") String state,
            @JsonProperty("since") String since,
            @JsonProperty("why") String why) {}

    /** All guards that were ever looked at. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record GuardStates(
            @JsonProperty("guards") List<GuardState> guards) {}

    /**
     * Findings of `doctor`, the sinks, the last drift check of each event type, and alerts that Alertmanager
     * posted.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Health(
            @JsonProperty("alerts") List<FiringAlert> alerts,
            @JsonProperty("at") String at,
            @JsonProperty("drift") Map<String, DriftLook> drift,
            @JsonProperty("findings") List<Finding> findings,
            @JsonProperty("ok") Boolean ok,
            @JsonProperty("ready") Boolean ready,
            @JsonProperty("sinks") List<SinkHealth> sinks,
            @JsonProperty("state") String state) {}

    /**
     * Customers' answers with one verdict that a stronger source judged later, and how many of them it
     * confirmed.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record HeldAnswers(
            @JsonProperty("verdict") String verdict,
            @JsonProperty("judged") Long judged,
            @JsonProperty("held") Long held) {}

    /** The typical range of a rule's hits per hour. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record HitRange(
            @JsonProperty("low") Long low,
            @JsonProperty("high") Long high) {}

    /** A value that more keys share than its cap allows: it links none of them. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Hub(
            @JsonProperty("via") String via,
            @JsonProperty("value") Object value,
            @JsonProperty("keys") Long keys) {}

    /** Import stages of disputes, each as a label of the source 'chargeback'. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ImportDisputes(
            @JsonProperty("disputes") List<DisputeInput> disputes) {}

    /** The contribution of one input, where several use the same feature or field. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record InputPart(
            @JsonProperty("input") String input,
            @JsonProperty("contribution") Double contribution) {}

    /**
     * A job: its progress, its log, and its result once it is done. `step` is the current step, `done` of
     * `total`; both are 0 if unknown. `due_at_ms` is a schedule's due time, even if the job ran later.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record JobDocument(
            @JsonProperty("id") String id,
            @JsonProperty("url") String url,
            @JsonProperty("kind") String kind,
            @JsonProperty("params") Map<String, Object> params,
            @JsonProperty("by") String by,
            @JsonProperty("schedule") String schedule,
            @JsonProperty("state") String state,
            @JsonProperty("attempt") Long attempt,
            @JsonProperty("due_at_ms") Long dueAtMs,
            @JsonProperty("begun_at_ms") Long begunAtMs,
            @JsonProperty("ended_at_ms") Long endedAtMs,
            @JsonProperty("step") String step,
            @JsonProperty("done") Long done,
            @JsonProperty("total") Long total,
            @JsonProperty("log") List<String> log,
            @JsonProperty("result") Map<String, Object> result,
            @JsonProperty("why") String why) {}

    /** A kind of job: its purpose, and the schema of its parameters. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record JobKindDocument(
            @JsonProperty("kind") String kind,
            @JsonProperty("meaning") String meaning,
            @JsonProperty("params") Map<String, Object> params) {}

    /** The kinds of jobs, each with the JSON Schema of its parameters. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record JobKinds(
            @JsonProperty("kinds") List<JobKindDocument> kinds) {}

    /** Jobs, newest first, without logs and results; `next` is `before` of the next request if there may be more. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record JobList(
            @JsonProperty("jobs") List<JobDocument> jobs,
            @JsonProperty("next") String next) {}

    /** A mail of the built-in mailbox; a list leaves its texts out. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record KeptMail(
            @JsonProperty("name") String name,
            @JsonProperty("subject") String subject,
            @JsonProperty("from") String from,
            @JsonProperty("to") String to,
            @JsonProperty("at") String at,
            @JsonProperty("text") String text,
            @JsonProperty("html") String html) {}

    /**
     * The key and the time; by default all features of the entity at the time of the newest event. Times are as
     * `2026-03-01T12:00:00Z`, or a day. `since` is a time for all features, or one for each by its name.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record KeyAtMoment(
            @JsonProperty("entity") String entity,
            @JsonProperty("key") String key,
            @JsonProperty("as_of") String asOf,
            @JsonProperty("seq") Long seq,
            @JsonProperty("known_at") String knownAt,
            @JsonProperty("features") List<String> features,
            @JsonProperty("since") Object since) {}

    /** An API key, without its secret text. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record KeyDocument(
            @JsonProperty("id") String id,
            @JsonProperty("name") String name,
            @JsonProperty("role") String role,
            @JsonProperty("scopes") List<String> scopes,
            @JsonProperty("made_at") String madeAt,
            @JsonProperty("made_by") String madeBy,
            @JsonProperty("expires_at") String expiresAt,
            @JsonProperty("revoked_at") String revokedAt,
            @JsonProperty("used_at") String usedAt) {}

    /**
     * A value that a key shares: the other keys that have it, and what is known of the events with it. `step` is
     * 1 where the key has the value itself, else how many values lie between, this one included.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record KeyLink(
            @JsonProperty("via") String via,
            @JsonProperty("value") Object value,
            @JsonProperty("keys") List<String> keys,
            @JsonProperty("frauds") Long frauds,
            @JsonProperty("spent") String spent,
            @JsonProperty("events") Long events,
            @JsonProperty("first") String first,
            @JsonProperty("last") String last,
            @JsonProperty("step") Long step) {}

    /** Keys without their text, revoked ones included. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Keys(
            @JsonProperty("keys") List<KeyDocument> keys) {}

    /**
     * Cases of a rule: how many, how many of them people or labels call fraud or genuine, and how many fraud.
     * `share` is that of fraud among the known ones.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record KnownCases(
            @JsonProperty("cases") Long cases,
            @JsonProperty("known") Long known,
            @JsonProperty("frauds") Long frauds,
            @JsonProperty("share") OutcomeRate share) {}

    /** A label to record. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Label(
            @JsonProperty("amount") Object amount,
            @JsonProperty("event") String event,
            @JsonProperty("known_at") Object knownAt,
            @JsonProperty("reason") String reason,
            @JsonProperty("source") String source,
            @JsonProperty("verdict") String verdict) {}

    /** An event with conflicting labels. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LabelConflict(
            @JsonProperty("event") String event,
            @JsonProperty("id") String id,
            @JsonProperty("kind") String kind,
            @JsonProperty("labels") List<ConflictingLabel> labels) {}

    /** The current label of an event. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LabelInForce(
            @JsonProperty("source") String source,
            @JsonProperty("verdict") String verdict) {}

    /** Label delay: the time until frauds become known. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LabelMaturity(
            @JsonProperty("frauds") Long frauds,
            @JsonProperty("too_young") Long tooYoung,
            @JsonProperty("later") Long later,
            @JsonProperty("curve") List<MaturityPoint> curve) {}

    /** The result of recording a label. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Labelled(
            @JsonProperty("in_force") LabelInForce inForce,
            @JsonProperty("label") String label,
            @JsonProperty("seq") Long seq,
            @JsonProperty("state") String state) {}

    /** The number of labels of a source, by verdict. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LabelsOfSource(
            @JsonProperty("source") String source,
            @JsonProperty("verdicts") Map<String, Long> verdicts,
            @JsonProperty("newest") String newest) {}

    /** Statistics of all labels of the log, from `counted_from` to `counted_to`. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LabelsTogether(
            @JsonProperty("counted_from") Long countedFrom,
            @JsonProperty("counted_to") Long countedTo,
            @JsonProperty("events") Long events,
            @JsonProperty("in_force") Map<String, Long> inForce,
            @JsonProperty("came") List<LabelsOfSource> came,
            @JsonProperty("conflicts") Long conflicts,
            @JsonProperty("newest_conflicts") List<LabelConflict> newestConflicts,
            @JsonProperty("maturity") LabelMaturity maturity,
            @JsonProperty("waiting") Long waiting,
            @JsonProperty("without_label") List<EventsWithoutLabel> withoutLabel,
            @JsonProperty("customers") CustomerAnswers customers) {}

    /** The answer about a law: proved, refuted or unknown. `events` end with the one that breaks it. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LawProved(
            @JsonProperty("id") String id,
            @JsonProperty("sentence") String sentence,
            @JsonProperty("required") Boolean required,
            @JsonProperty("answer") String answer,
            @JsonProperty("reason") String reason,
            @JsonProperty("events") List<RuleTestEvent> events) {}

    /** The answers about laws, in the order of the files. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LawsProved(
            @JsonProperty("laws") List<LawProved> laws) {}

    /** A page of letters, the number of pending notices, and what blocks all sending. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LetterPage(
            @JsonProperty("waiting") Long waiting,
            @JsonProperty("trouble") String trouble,
            @JsonProperty("next") String next,
            @JsonProperty("letters") List<LetterShown> letters) {}

    /** A message in the outbox, with its recipient masked as needed. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LetterShown(
            @JsonProperty("id") String id,
            @JsonProperty("notice") String notice,
            @JsonProperty("rule") String rule,
            @JsonProperty("to") String to,
            @JsonProperty("state") String state,
            @JsonProperty("attempts") Long attempts,
            @JsonProperty("made") String made,
            @JsonProperty("due") String due,
            @JsonProperty("done") String done,
            @JsonProperty("reason") String reason) {}

    /**
     * Make a link for the customer to a page with the reasons of a decision, where they can say that it is
     * wrong.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LinkReasons(
            @JsonProperty("event") String event) {}

    /**
     * A key that is linked, over so many steps; its events in the window, and the outcome of the newest
     * decision.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LinkedKey(
            @JsonProperty("key") String key,
            @JsonProperty("step") Long step,
            @JsonProperty("events") Long events,
            @JsonProperty("frauds") Long frauds,
            @JsonProperty("spent") String spent,
            @JsonProperty("outcome") String outcome) {}

    /** Approve, as the second person, a requested change of a list. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ListApproval(
            @JsonProperty("etag") String etag) {}

    /**
     * Result of a list change: numbers of entries, and whether the next event is decided by it. `why_not` says
     * what that waits for. `what` is ADDED, CHANGED, REMOVED or SAME; `value` is the value that one entry stands
     * for, hashed where the list is compared with a hashed field. `others` are files that were changed before
     * and became active with it. `expired` is the end of a new entry where that is over. `repeated` counts sent
     * lines that a later line of the same value replaced.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ListChange(
            @JsonProperty("list") String list,
            @JsonProperty("added") Long added,
            @JsonProperty("changed") Long changed,
            @JsonProperty("removed") Long removed,
            @JsonProperty("in_force") Boolean inForce,
            @JsonProperty("why_not") String whyNot,
            @JsonProperty("what") String what,
            @JsonProperty("value") String value,
            @JsonProperty("entries") Long entries,
            @JsonProperty("others") List<String> others,
            @JsonProperty("expired") String expired,
            @JsonProperty("repeated") Long repeated) {}

    /** The entries of a list, in the order of its file, and its changes that wait for a second person. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ListEntries(
            @JsonProperty("name") String name,
            @JsonProperty("etag") String etag,
            @JsonProperty("entries") List<Entry> entries,
            @JsonProperty("asked") List<ChangeAsked> asked) {}

    /** Entries as CSV. With `is_whole`, all other entries of the list are removed. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ListSheet(
            @JsonProperty("csv") String csv,
            @JsonProperty("is_whole") Boolean isWhole) {}

    /** A list in an overview: its number of entries, and the features and rules that read it. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ListSummary(
            @JsonProperty("name") String name,
            @JsonProperty("entries") Long entries,
            @JsonProperty("read_by") List<String> readBy) {}

    /** A key with its newest event. `flagged` has the newest events at which rules flagged it, at most 20. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ListedKey(
            @JsonProperty("key") String key,
            @JsonProperty("name") String name,
            @JsonProperty("event") String event,
            @JsonProperty("time") String time,
            @JsonProperty("about") String about,
            @JsonProperty("outcome") String outcome,
            @JsonProperty("score") Double score,
            @JsonProperty("rules") List<String> rules,
            @JsonProperty("flagged") List<String> flagged) {}

    /**
     * A model of the registry with its role: champion, challenger, shadow, before, or none. `redefined` names
     * the inputs of one that scores which mean something else now than when it was trained; `unused` says of a
     * champion that its score changes no decision, with the cure. `unwaived` are the failed gates, by name, that
     * no promotion waived.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ListedModel(
            @JsonProperty("id") String id,
            @JsonProperty("digest") String digest,
            @JsonProperty("event") String event,
            @JsonProperty("learner") String learner,
            @JsonProperty("made_at") String madeAt,
            @JsonProperty("failed") List<String> failed,
            @JsonProperty("problem") String problem,
            @JsonProperty("is_judged") Boolean isJudged,
            @JsonProperty("damaged") List<String> damaged,
            @JsonProperty("role") String role,
            @JsonProperty("redefined") List<String> redefined,
            @JsonProperty("unused") String unused,
            @JsonProperty("unwaived") List<String> unwaived) {}

    /** All lists, with the rules and features that read each. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Lists(
            @JsonProperty("lists") List<ListSummary> lists) {}

    /** Live figures of a period; `cases` for those who may read cases. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Live(
            @JsonProperty("period") String period,
            @JsonProperty("from") String from,
            @JsonProperty("to") String to,
            @JsonProperty("counted_from") Long countedFrom,
            @JsonProperty("is_whole") Boolean isWhole,
            @JsonProperty("came") Long came,
            @JsonProperty("decided") Long decided,
            @JsonProperty("by_outcome") Map<String, OutcomeCount> byOutcome,
            @JsonProperty("verdicts") Map<String, Long> verdicts,
            @JsonProperty("steps") List<LiveStep> steps,
            @JsonProperty("rules") List<RuleHitCount> rules,
            @JsonProperty("answer_ms") Map<String, Double> answerMs,
            @JsonProperty("answer_ms_ever") Map<String, Double> answerMsEver,
            @JsonProperty("events_per_second") Double eventsPerSecond,
            @JsonProperty("waiting") Long waiting,
            @JsonProperty("waiting_age_s") Double waitingAgeS,
            @JsonProperty("quarantined") Long quarantined,
            @JsonProperty("labels_waiting") Long labelsWaiting,
            @JsonProperty("outbox") Long outbox,
            @JsonProperty("outbox_stuck") Long outboxStuck,
            @JsonProperty("outbox_failing") List<String> outboxFailing,
            @JsonProperty("cases") CasesOpen cases) {}

    /** A step of the period. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LiveStep(
            @JsonProperty("from") String from,
            @JsonProperty("decided") Long decided,
            @JsonProperty("not_approved") Long notApproved) {}

    /** The process responds. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Liveness(
            @JsonProperty("live") Boolean live) {}

    /** All tables of the project. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LookUpTables(
            @JsonProperty("tables") List<TableSummary> tables) {}

    /** A version of a table in the log; `by` applied the files, and is empty where the next event took them up. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record LookUpVersion(
            @JsonProperty("seq") Long seq,
            @JsonProperty("at") String at,
            @JsonProperty("by") String by) {}

    /** Subject, plain text and HTML. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record MailPreview(
            @JsonProperty("subject") String subject,
            @JsonProperty("text") String text,
            @JsonProperty("html") String html) {}

    /** The newest mails of the built-in mailbox, without their texts. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Mailbox(
            @JsonProperty("mails") List<KeptMail> mails) {}

    /** The share of frauds known after a number of days. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record MaturityPoint(
            @JsonProperty("days") Long days,
            @JsonProperty("share") Double share,
            @JsonProperty("by_source") Map<String, Double> bySource) {}

    /**
     * Fraud among approvals by the sample of them, reported or not. Of `sampled` approvals `reviewed` have an
     * answer. The rate is the share of frauds among all approvals, with its 95 % confidence interval; null
     * before the first answer. `fraud_money` is that of these frauds. `uncovered` approvals of the sample are in
     * groups of one probability without any answer: rate and money leave the events of these out.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record MissedFraudRate(
            @JsonProperty("sampled") Long sampled,
            @JsonProperty("reviewed") Long reviewed,
            @JsonProperty("uncovered") Long uncovered,
            @JsonProperty("frauds") Long frauds,
            @JsonProperty("rate") Double rate,
            @JsonProperty("low") Double low,
            @JsonProperty("high") Double high,
            @JsonProperty("fraud_money") String fraudMoney) {}

    /** An error: for input its path and `detail`; for the project's files the position, a message and a hint. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Mistake(
            @JsonProperty("column") Long column,
            @JsonProperty("detail") String detail,
            @JsonProperty("file") String file,
            @JsonProperty("hint") String hint,
            @JsonProperty("line") Long line,
            @JsonProperty("message") String message,
            @JsonProperty("path") String path) {}

    /** One model with all its details. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Model(
            @JsonProperty("id") String id,
            @JsonProperty("event") String event,
            @JsonProperty("role") String role,
            @JsonProperty("digest") String digest,
            @JsonProperty("gates") List<GateResult> gates,
            @JsonProperty("metrics") Map<String, Object> metrics,
            @JsonProperty("promotions") List<PromotionRecord> promotions,
            @JsonProperty("manifest") Map<String, Object> manifest,
            @JsonProperty("files") List<String> files,
            @JsonProperty("damaged") Map<String, String> damaged,
            @JsonProperty("redefined") List<String> redefined) {}

    /**
     * A change of a model: `promote`, `shadow`, `unshadow` or `rollback`, and the reason. `waive` lists gates to
     * waive, each by metric and limit. With `champion`, empty for none, a model is promoted only if that is
     * still the champion.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ModelChange(
            @JsonProperty("do") String do_,
            @JsonProperty("reason") String reason,
            @JsonProperty("waive") List<String> waive,
            @JsonProperty("champion") String champion) {}

    /**
     * The model's part of the decision, and the changes that would give another outcome. `base` is the mean
     * margin; it and the contributions sum to `margin`, within 1e-5 of the sum of their sizes plus half a
     * millionth for each. If `problem` is set, only the score is available; the numbers are None. `gives` is the
     * scale: log-odds, or for a forest a probability before calibration.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ModelPart(
            @JsonProperty("model") String model,
            @JsonProperty("score") Double score,
            @JsonProperty("margin") Double margin,
            @JsonProperty("base") Double base,
            @JsonProperty("policy") PolicyLine policy,
            @JsonProperty("changes") List<ChangeLine> changes,
            @JsonProperty("note") String note,
            @JsonProperty("problem") String problem,
            @JsonProperty("gives") String gives) {}

    /** The models of the registry with their current state, newest first. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Models(
            @JsonProperty("models") List<ListedModel> models) {}

    /** An amount with its currency. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Money(
            @JsonProperty("amount") String amount,
            @JsonProperty("currency") String currency) {}

    /** A name that an expression can use. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Name(
            @JsonProperty("name") String name,
            @JsonProperty("type") String type,
            @JsonProperty("says") String says) {}

    /** Each name with its meaning. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Names(
            @JsonProperty("names") List<Name> names,
            @JsonProperty("keys") List<RuleKey> keys,
            @JsonProperty("effects") List<String> effects) {}

    /**
     * The new thresholds, null for none, the reason, and other costs to save in the same change. They are
     * written where policy.yaml still has the text that `tag` stands for.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record NewCutoffs(
            @JsonProperty("reason") String reason,
            @JsonProperty("review_at") Double reviewAt,
            @JsonProperty("decline_at") Double declineAt,
            @JsonProperty("costs") Costs costs) {}

    /**
     * A kind of job and its parameters, as listed by `GET /api/v1/jobs/kinds`. `timeout_s` is the time limit of
     * a run.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record NewJob(
            @JsonProperty("kind") String kind,
            @JsonProperty("params") Map<String, Object> params,
            @JsonProperty("timeout_s") Long timeoutS,
            @JsonProperty("retries") Long retries) {}

    /** Create an API key and show it, this one time. It has at most the rights of its creator. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record NewKey(
            @JsonProperty("name") String name,
            @JsonProperty("role") String role,
            @JsonProperty("expires") String expires,
            @JsonProperty("scopes") List<String> scopes) {}

    /** The key with its secret text, which is shown only once. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record NewKeyAnswer(
            @JsonProperty("id") String id,
            @JsonProperty("name") String name,
            @JsonProperty("role") String role,
            @JsonProperty("scopes") List<String> scopes,
            @JsonProperty("made_at") String madeAt,
            @JsonProperty("made_by") String madeBy,
            @JsonProperty("expires_at") String expiresAt,
            @JsonProperty("revoked_at") String revokedAt,
            @JsonProperty("used_at") String usedAt,
            @JsonProperty("key") String key) {}

    /** A new entry; its author is the caller. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record NewListEntry(
            @JsonProperty("value") String value,
            @JsonProperty("note") String note,
            @JsonProperty("expires_at") String expiresAt) {}

    /** Replace the text of a rule file: it is checked with its tests, written, and made active. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record NewRuleFile(
            @JsonProperty("text") String text) {}

    /** Add a user. Without a password, the output has a one-time link to set one, valid for three days. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record NewUser(
            @JsonProperty("name") String name,
            @JsonProperty("role") String role,
            @JsonProperty("display_name") String displayName,
            @JsonProperty("email") String email) {}

    /** The user, and a one-time link to set the password, valid for three days; null if a password was given. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record NewUserAnswer(
            @JsonProperty("user") UserDocument user,
            @JsonProperty("link") String link,
            @JsonProperty("url") String url) {}

    /** A notice, without secrets and recipients' addresses. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record NoticeShown(
            @JsonProperty("name") String name,
            @JsonProperty("on") String on,
            @JsonProperty("event") String event,
            @JsonProperty("channel") String channel,
            @JsonProperty("to") String to,
            @JsonProperty("asks") Boolean asks,
            @JsonProperty("digest_s") Double digestS,
            @JsonProperty("has_quiet_hours") Boolean hasQuietHours,
            @JsonProperty("verbose") Boolean verbose) {}

    /** Send the mail of a notice to an address, marked as a test. Exit status 1 if it is refused. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record NoticeTest(
            @JsonProperty("to") String to,
            @JsonProperty("event") String event,
            @JsonProperty("day") String day) {}

    /** The notices of the project. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Notices(
            @JsonProperty("notices") List<NoticeShown> notices) {}

    /** The out-of-fold estimate: the cost of such thresholds on events that were not used to choose them. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record OutOfFoldCost(
            @JsonProperty("cost") String cost,
            @JsonProperty("low") String low,
            @JsonProperty("high") String high,
            @JsonProperty("reviews") Double reviews,
            @JsonProperty("frauds_stopped") Double fraudsStopped,
            @JsonProperty("folds") List<FoldThresholds> folds) {}

    /** The number of decisions with one outcome. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record OutcomeCount(
            @JsonProperty("count") Long count,
            @JsonProperty("money") String money) {}

    /** A share of events with its 95 % confidence interval (Wilson). */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record OutcomeRate(
            @JsonProperty("share") Double share,
            @JsonProperty("low") Double low,
            @JsonProperty("high") Double high) {}

    /** A user by id and name. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Person(
            @JsonProperty("id") String id,
            @JsonProperty("name") String name) {}

    /** The policy step: rules and score to outcome; thresholds are None if policy.yaml has none. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record PolicyLine(
            @JsonProperty("review_at") Double reviewAt,
            @JsonProperty("decline_at") Double declineAt,
            @JsonProperty("by_rules") String byRules,
            @JsonProperty("by_score") String byScore,
            @JsonProperty("text") String text) {}

    /** One alert of a webhook of Alertmanager; fields that are not used here are ignored. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record PostedAlert(
            @JsonProperty("status") String status,
            @JsonProperty("fingerprint") String fingerprint,
            @JsonProperty("startsAt") String startsAt,
            @JsonProperty("labels") Map<String, String> labels,
            @JsonProperty("annotations") Map<String, String> annotations) {}

    /** A webhook of Alertmanager, format version 4. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record PostedAlerts(
            @JsonProperty("alerts") List<PostedAlert> alerts) {}

    /**
     * A problem document (RFC 9457). `type` is stable, for programs. `ready` and `state` come from a service
     * that accepts no events. `by`, `at`, `state`, `verdict`, `tag` and `saved` describe a case that another
     * user changed first. `instance` refers to a failure in the service's own log; `url` to a conflicting job.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Problem(
            @JsonProperty("at") String at,
            @JsonProperty("by") String by,
            @JsonProperty("detail") String detail,
            @JsonProperty("errors") List<Mistake> errors,
            @JsonProperty("instance") String instance,
            @JsonProperty("ready") Boolean ready,
            @JsonProperty("saved") Boolean saved,
            @JsonProperty("state") String state,
            @JsonProperty("status") Long status,
            @JsonProperty("tag") String tag,
            @JsonProperty("title") String title,
            @JsonProperty("type") String type,
            @JsonProperty("url") String url,
            @JsonProperty("verdict") String verdict) {}

    /** A promotion to champion: when, by whom, and the waived gates. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record PromotionRecord(
            @JsonProperty("id") String id,
            @JsonProperty("digest") String digest,
            @JsonProperty("at") String at,
            @JsonProperty("by") String by,
            @JsonProperty("waived") List<Waiver> waived) {}

    /**
     * A refused input. `place` is its line, `row` its number among the lines of data. `fixed_by` is the event
     * that was accepted after the input was corrected and sent again, such as payment/p-1; of a label the event
     * that got it. `raw` is null if it may contain personal data that the caller may not see, and `raw_base64`
     * has bytes that are no text.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record QuarantineEntry(
            @JsonProperty("number") Long number,
            @JsonProperty("source") String source,
            @JsonProperty("place") String place,
            @JsonProperty("row") Long row,
            @JsonProperty("type") String type,
            @JsonProperty("reason") String reason,
            @JsonProperty("at") String at,
            @JsonProperty("fixed_by") String fixedBy,
            @JsonProperty("raw") String raw,
            @JsonProperty("raw_base64") String rawBase64) {}

    /** Entries by their numbers; a request over HTTP names at least one. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record QuarantineNumbers(
            @JsonProperty("numbers") List<Long> numbers) {}

    /** Each entry with its reason. Its bytes are included unless they may contain personal data. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record QuarantinePage(
            @JsonProperty("entries") List<QuarantineEntry> entries,
            @JsonProperty("next") String next) {}

    /** A question to a customer, and the answer: nothing of its link, and not who was asked. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record QuestionShown(
            @JsonProperty("notice") String notice,
            @JsonProperty("event") String event,
            @JsonProperty("asked") String asked,
            @JsonProperty("until") String until,
            @JsonProperty("answer") String answer,
            @JsonProperty("answered") String answered,
            @JsonProperty("released") Boolean released) {}

    /** The questions about one decision, oldest first. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Questions(
            @JsonProperty("questions") List<QuestionShown> questions) {}

    /** Readiness: the state of the service, and if it accepts events. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Readiness(
            @JsonProperty("ready") Boolean ready,
            @JsonProperty("state") String state) {}

    /** A reason of a decision. `code` is stable: a rule's id or a feature's name. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Reason(
            @JsonProperty("code") String code,
            @JsonProperty("contribution") Double contribution,
            @JsonProperty("effect") String effect,
            @JsonProperty("inputs") List<InputPart> inputs,
            @JsonProperty("kind") String kind,
            @JsonProperty("text") String text) {}

    /** The link, and until when it shows the reasons. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReasonsLink(
            @JsonProperty("link") String link,
            @JsonProperty("until") String until) {}

    /** The removed user. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RemovedUser(
            @JsonProperty("user") UserDocument user) {}

    /** The name of the removed filter. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RemovedView(
            @JsonProperty("removed") String removed) {}

    /** A decision computed again; if it differs, both versions. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Replay(
            @JsonProperty("match") Boolean match,
            @JsonProperty("receipt") String receipt,
            @JsonProperty("event") String event,
            @JsonProperty("id") String id,
            @JsonProperty("recorded") String recorded,
            @JsonProperty("computed") String computed) {}

    /**
     * Both sides, and the value of their difference with its 95 % confidence interval `low` to `high`. `net` is
     * null, and there are no weeks, where no event has a label; `mature` events are older than the label delay.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReportBalance(
            @JsonProperty("old") ReportSide old,
            @JsonProperty("new") ReportSide new_,
            @JsonProperty("net") String net,
            @JsonProperty("low") String low,
            @JsonProperty("high") String high,
            @JsonProperty("days") Long days,
            @JsonProperty("events") Long events,
            @JsonProperty("mature") Long mature,
            @JsonProperty("labelled") Long labelled,
            @JsonProperty("weeks") List<ReportWeek> weeks) {}

    /** Events of one type with the same outcomes and label: their number and amount. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReportCell(
            @JsonProperty("event") String event,
            @JsonProperty("old") String old,
            @JsonProperty("new") String new_,
            @JsonProperty("label") String label,
            @JsonProperty("immature") Boolean immature,
            @JsonProperty("count") Long count,
            @JsonProperty("money") String money) {}

    /**
     * Costs in policy.yaml: of a review and a false decline, null where event types differ; whether it names
     * any.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReportCosts(
            @JsonProperty("review") String review,
            @JsonProperty("false_decline") String falseDecline,
            @JsonProperty("named") Boolean named) {}

    /**
     * Exploration of one event type; numbers of the events that these stand for are estimates. `immature` are
     * younger than the label delay, `reviewed` a person was to look at first; `cost` is what those cost that are
     * known as frauds so far and were not reviewed.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReportExploration(
            @JsonProperty("event") String event,
            @JsonProperty("explored") Long explored,
            @JsonProperty("immature") Long immature,
            @JsonProperty("unclear") Long unclear,
            @JsonProperty("reviewed") Long reviewed,
            @JsonProperty("known") Long known,
            @JsonProperty("frauds") Long frauds,
            @JsonProperty("precision") Double precision,
            @JsonProperty("low") Double low,
            @JsonProperty("high") Double high,
            @JsonProperty("declines") Double declines,
            @JsonProperty("frauds_declined") Double fraudsDeclined,
            @JsonProperty("cost") String cost) {}

    /** Hits of a rule, and those older than the label delay by label, with their precision (95 % interval). */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReportHits(
            @JsonProperty("hits") Long hits,
            @JsonProperty("older_fraud") Long olderFraud,
            @JsonProperty("older_genuine") Long olderGenuine,
            @JsonProperty("older_unclear") Long olderUnclear,
            @JsonProperty("older_none") Long olderNone,
            @JsonProperty("immature") Long immature,
            @JsonProperty("precision") Double precision,
            @JsonProperty("precision_low") Double precisionLow,
            @JsonProperty("precision_high") Double precisionHigh,
            @JsonProperty("money") String money,
            @JsonProperty("older_fraud_money") String olderFraudMoney) {}

    /**
     * Events before `until`, the end of the training data of the draft's models; `behind` are later. Of the
     * `events`, the models were trained on some: on `rows`, where all of their training data is in the backtest.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReportLearnt(
            @JsonProperty("models") List<String> models,
            @JsonProperty("not_told") List<String> notTold,
            @JsonProperty("until") String until,
            @JsonProperty("rows") Long rows,
            @JsonProperty("events") Long events,
            @JsonProperty("behind") Long behind,
            @JsonProperty("balance") ReportBalance balance) {}

    /**
     * Recorded decisions that differ from those of the project without the draft: their number, and what
     * changed.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReportRecorded(
            @JsonProperty("differ") Long differ,
            @JsonProperty("because") List<String> because) {}

    /** An event whose outcome changes. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReportRow(
            @JsonProperty("event") String event,
            @JsonProperty("id") String id,
            @JsonProperty("seq") Long seq,
            @JsonProperty("time") String time,
            @JsonProperty("old") String old,
            @JsonProperty("new") String new_,
            @JsonProperty("label") String label,
            @JsonProperty("immature") Boolean immature,
            @JsonProperty("money") String money,
            @JsonProperty("old_rules") List<String> oldRules,
            @JsonProperty("rules") List<String> rules) {}

    /** A rule of the draft: its hits, hits of this rule alone, and `old` hits without the draft. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReportRule(
            @JsonProperty("hits") Long hits,
            @JsonProperty("older_fraud") Long olderFraud,
            @JsonProperty("older_genuine") Long olderGenuine,
            @JsonProperty("older_unclear") Long olderUnclear,
            @JsonProperty("older_none") Long olderNone,
            @JsonProperty("immature") Long immature,
            @JsonProperty("precision") Double precision,
            @JsonProperty("precision_low") Double precisionLow,
            @JsonProperty("precision_high") Double precisionHigh,
            @JsonProperty("money") String money,
            @JsonProperty("older_fraud_money") String olderFraudMoney,
            @JsonProperty("id") String id,
            @JsonProperty("on") String on,
            @JsonProperty("effect") String effect,
            @JsonProperty("shadow") Boolean shadow,
            @JsonProperty("kept") Boolean kept,
            @JsonProperty("effective") Long effective,
            @JsonProperty("only") ReportHits only,
            @JsonProperty("overlap") Map<String, Long> overlap,
            @JsonProperty("old") ReportHits old) {}

    /**
     * Outcomes of mature events, without the draft or with it. A presumed false decline is a declined event that
     * is not labeled fraud or unclear, so also one without a label.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReportSide(
            @JsonProperty("frauds_stopped") Long fraudsStopped,
            @JsonProperty("fraud_money_stopped") String fraudMoneyStopped,
            @JsonProperty("reviews") Long reviews,
            @JsonProperty("presumed_false_declines") Long presumedFalseDeclines) {}

    /** The value of a draft in a week, from Monday or the first day on, and how many mature events that has. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ReportWeek(
            @JsonProperty("day") String day,
            @JsonProperty("net") String net,
            @JsonProperty("events") Long events) {}

    /** The money of the events that the counts of the same names count. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ResultMoney(
            @JsonProperty("approved") String approved,
            @JsonProperty("challenged") String challenged,
            @JsonProperty("reviewed") String reviewed,
            @JsonProperty("declined") String declined,
            @JsonProperty("caught") String caught,
            @JsonProperty("missed") String missed,
            @JsonProperty("false_declines") String falseDeclines) {}

    /**
     * A period, or in all of it a rule, shadow hits included, or a value of the field (null where it is
     * missing). Caught frauds are those that were not approved, missed ones those that were; false declines are
     * declined events labeled genuine, null if no declined event has a label; `unlabeled_declines` are those
     * without a label. `money_saved` is the money of caught frauds. The fraud rate of reviews is the share of
     * frauds among reviewed events with a label; null without one. It is no precision of rules, of which events
     * without a label count as genuine once they are mature. The decline rate is that of all events. The false
     * positive rate is the share of events without a fraud label that were reviewed or declined, by rules or the
     * score; null by rule. A row is mature when its events are older than the label delay and 99 % of frauds are
     * known at that age. The estimate is null if too few frauds are known. `change` is that of figures since the
     * days before, as many as these: 0.1 is a tenth more. It is empty where the log has not all of those days or
     * the last day is still to come, and leaves out figures that were 0 or unknown. A day, week or month that is
     * over is compared with the row above it if that is as long.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ResultRow(
            @JsonProperty("from") String from,
            @JsonProperty("to") String to,
            @JsonProperty("value") String value,
            @JsonProperty("events") Long events,
            @JsonProperty("volume") String volume,
            @JsonProperty("approved") Long approved,
            @JsonProperty("challenged") Long challenged,
            @JsonProperty("reviewed") Long reviewed,
            @JsonProperty("declined") Long declined,
            @JsonProperty("fraud") FraudFigures fraud,
            @JsonProperty("caught") Long caught,
            @JsonProperty("missed") Long missed,
            @JsonProperty("false_declines") Long falseDeclines,
            @JsonProperty("unlabeled_declines") Long unlabeledDeclines,
            @JsonProperty("money_saved") String moneySaved,
            @JsonProperty("review_fraud_rate") Double reviewFraudRate,
            @JsonProperty("decline_rate") OutcomeRate declineRate,
            @JsonProperty("false_positive_rate") OutcomeRate falsePositiveRate,
            @JsonProperty("money") ResultMoney money,
            @JsonProperty("mature") Boolean mature,
            @JsonProperty("estimate") FraudEstimate estimate,
            @JsonProperty("change") Map<String, Double> change) {}

    /**
     * What fraud cost and what decisions did, with the total of all events; those of several rules count once.
     * `before` is the total of as many days directly before these, null where there is no change. `review_hours`
     * is the time from claim to decision of cases that were decided in these days, each at most as long as a
     * claim locks it. `declines` is null where nothing was explored, `missed_fraud` where no approval was
     * sampled; `programmes` has the ratios of card schemes in the month of the last day, by month in each; the
     * nearest to its limit is first. `oldest` is the day of the oldest event where that lies before the days of
     * the answer and no first day was asked for, else null.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Results(
            @JsonProperty("as_of") String asOf,
            @JsonProperty("by") String by,
            @JsonProperty("zone") String zone,
            @JsonProperty("currency") String currency,
            @JsonProperty("rows") List<ResultRow> rows,
            @JsonProperty("total") ResultRow total,
            @JsonProperty("before") ResultRow before,
            @JsonProperty("review_hours") Double reviewHours,
            @JsonProperty("declines") DeclineValue declines,
            @JsonProperty("missed_fraud") MissedFraudRate missedFraud,
            @JsonProperty("programmes") List<SchemeRatio> programmes,
            @JsonProperty("oldest") String oldest) {}

    /** The result for each entry. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RetriedEntries(
            @JsonProperty("read") Long read,
            @JsonProperty("taken") Long taken,
            @JsonProperty("quarantined") Long quarantined,
            @JsonProperty("entries") List<RetriedEntry> entries) {}

    /** The result of one retried entry; `reason` says why it stays. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RetriedEntry(
            @JsonProperty("number") Long number,
            @JsonProperty("source") String source,
            @JsonProperty("place") String place,
            @JsonProperty("outcome") String outcome,
            @JsonProperty("reason") String reason) {}

    /** The revoked key, and the names of keys that were made with it and are not revoked. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RevokedKey(
            @JsonProperty("id") String id,
            @JsonProperty("name") String name,
            @JsonProperty("role") String role,
            @JsonProperty("scopes") List<String> scopes,
            @JsonProperty("made_at") String madeAt,
            @JsonProperty("made_by") String madeBy,
            @JsonProperty("expires_at") String expiresAt,
            @JsonProperty("revoked_at") String revokedAt,
            @JsonProperty("used_at") String usedAt,
            @JsonProperty("made") List<String> made) {}

    /**
     * Statistics of a rule over the newest part of the log. `fraud` and `fraud_money` are of all hits labeled
     * fraud; `older_*` are hits past the label delay, by label. The precision is the share of frauds among older
     * hits that are not unclear; those without a label count as genuine. It is null without such hits, and if no
     * event of that type has a label.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleCounts(
            @JsonProperty("hits") Long hits,
            @JsonProperty("in_shadow") Long inShadow,
            @JsonProperty("fraud") Long fraud,
            @JsonProperty("older_fraud") Long olderFraud,
            @JsonProperty("older_genuine") Long olderGenuine,
            @JsonProperty("older_unclear") Long olderUnclear,
            @JsonProperty("older_none") Long olderNone,
            @JsonProperty("immature") Long immature,
            @JsonProperty("precision") Double precision,
            @JsonProperty("precision_low") Double precisionLow,
            @JsonProperty("precision_high") Double precisionHigh,
            @JsonProperty("money") String money,
            @JsonProperty("fraud_money") String fraudMoney) {}

    /** A draft of a rule. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleDraft(
            @JsonProperty("rule") String rule,
            @JsonProperty("etag") String etag,
            @JsonProperty("authors") List<String> authors,
            @JsonProperty("saved_at") String savedAt,
            @JsonProperty("approved_by") String approvedBy) {}

    /** A draft with its text, errors and warnings. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleDraftChecked(
            @JsonProperty("rule") String rule,
            @JsonProperty("etag") String etag,
            @JsonProperty("authors") List<String> authors,
            @JsonProperty("saved_at") String savedAt,
            @JsonProperty("approved_by") String approvedBy,
            @JsonProperty("text") String text,
            @JsonProperty("check") DraftCheck check) {}

    /** A draft with its text. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleDraftText(
            @JsonProperty("rule") String rule,
            @JsonProperty("etag") String etag,
            @JsonProperty("authors") List<String> authors,
            @JsonProperty("saved_at") String savedAt,
            @JsonProperty("approved_by") String approvedBy,
            @JsonProperty("text") String text) {}

    /** All drafts, without their texts. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleDrafts(
            @JsonProperty("drafts") List<RuleDraft> drafts) {}

    /** A file of rules. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleFileShown(
            @JsonProperty("file") String file,
            @JsonProperty("etag") String etag,
            @JsonProperty("rules") List<RuleOfFile> rules) {}

    /** A file of rules with its text. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleFileText(
            @JsonProperty("file") String file,
            @JsonProperty("etag") String etag,
            @JsonProperty("rules") List<RuleOfFile> rules,
            @JsonProperty("text") String text) {}

    /** The written rule file; `in_force` says whether it is active in the log yet. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleFileWritten(
            @JsonProperty("file") String file,
            @JsonProperty("etag") String etag,
            @JsonProperty("rules") List<RuleOfFile> rules,
            @JsonProperty("in_force") Boolean inForce,
            @JsonProperty("why_not") String whyNot) {}

    /** All files of rules. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleFiles(
            @JsonProperty("files") List<RuleFileShown> files) {}

    /**
     * A rule as a form. Args: keys: Values of KEYS; empty for keys that the rule lacks. joined: `and` or `or`
     * between the groups; the other word joins the rows of a group. groups: Rows by group; most groups have one.
     * tests: Tests; None leaves them unchanged, as for a rule in braces.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleForm(
            @JsonProperty("keys") Map<String, String> keys,
            @JsonProperty("joined") String joined,
            @JsonProperty("groups") List<List<FormRow>> groups,
            @JsonProperty("tests") List<RuleTestForm> tests) {}

    /** An event that a rule hit. `shadow` says whether the rule was in shadow then. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleHit(
            @JsonProperty("event") String event,
            @JsonProperty("id") String id,
            @JsonProperty("seq") Long seq,
            @JsonProperty("time") String time,
            @JsonProperty("money") String money,
            @JsonProperty("shadow") Boolean shadow,
            @JsonProperty("verdict") String verdict,
            @JsonProperty("immature") Boolean immature) {}

    /** Statistics of a rule over the last hour. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleHitCount(
            @JsonProperty("rule") String rule,
            @JsonProperty("hits_1h") Long hits1h,
            @JsonProperty("shadow") Boolean shadow,
            @JsonProperty("usual_1h") HitRange usual1h,
            @JsonProperty("is_spike") Boolean isSpike) {}

    /** A page of hits, the newest first. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleHits(
            @JsonProperty("hits") List<RuleHit> hits,
            @JsonProperty("next") String next) {}

    /** A key of a rule file. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleKey(
            @JsonProperty("name") String name,
            @JsonProperty("says") String says) {}

    /** One rule that checked the event. `result`: hit, hit in shadow, or no hit; `condition`: as it is written. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleLine(
            @JsonProperty("id") String id,
            @JsonProperty("effect") String effect,
            @JsonProperty("result") String result,
            @JsonProperty("text") String text,
            @JsonProperty("condition") String condition) {}

    /** A rule and its statistics; `older_*` count hits past the label delay, by label. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleOfFile(
            @JsonProperty("by") String by,
            @JsonProperty("effect") String effect,
            @JsonProperty("fraud") Long fraud,
            @JsonProperty("hits") Long hits,
            @JsonProperty("id") String id,
            @JsonProperty("notify") String notify_,
            @JsonProperty("older_fraud") Long olderFraud,
            @JsonProperty("older_genuine") Long olderGenuine,
            @JsonProperty("older_none") Long olderNone,
            @JsonProperty("on") String on,
            @JsonProperty("precision") Double precision,
            @JsonProperty("precision_high") Double precisionHigh,
            @JsonProperty("precision_low") Double precisionLow,
            @JsonProperty("rollout") Double rollout,
            @JsonProperty("shadow") Boolean shadow,
            @JsonProperty("tests") Long tests) {}

    /** Restore a rule's version from a sequence number of the log; 0 removes the rule. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleReturn(
            @JsonProperty("seq") Long seq,
            @JsonProperty("reason") String reason) {}

    /** One rule and its statistics. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleState(
            @JsonProperty("id") String id,
            @JsonProperty("state") String state,
            @JsonProperty("file") String file,
            @JsonProperty("effect") String effect,
            @JsonProperty("in_force") Boolean inForce,
            @JsonProperty("trial") String trial,
            @JsonProperty("draft") String draft,
            @JsonProperty("changed_at") String changedAt,
            @JsonProperty("record") RuleCounts record) {}

    /** All rules with their statistics since a time; removed ones come last. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleStates(
            @JsonProperty("since") String since,
            @JsonProperty("rules") List<RuleState> rules) {}

    /**
     * An event of a test. Args: values: Text of each field; `at` is the time. hits: `true`, `false` or the row
     * of a table that hits; empty for an event of another type than the rule's.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleTestEvent(
            @JsonProperty("type") String type,
            @JsonProperty("values") Map<String, String> values,
            @JsonProperty("hits") String hits) {}

    /** A test of a rule; without events it can only be edited as text. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleTestForm(
            @JsonProperty("name") String name,
            @JsonProperty("events") List<RuleTestEvent> events) {}

    /** The text of a rule from a sequence number of the log on; null if it was removed. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleVersion(
            @JsonProperty("seq") Long seq,
            @JsonProperty("time") String time,
            @JsonProperty("file") String file,
            @JsonProperty("text") String text,
            @JsonProperty("by") String by,
            @JsonProperty("reason") String reason) {}

    /** All versions of a rule, newest first; the text is null if the rule was removed. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleVersions(
            @JsonProperty("versions") List<RuleVersion> versions) {}

    /** One rule with its text, and its changes that wait for a second person. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record RuleWhole(
            @JsonProperty("id") String id,
            @JsonProperty("state") String state,
            @JsonProperty("file") String file,
            @JsonProperty("effect") String effect,
            @JsonProperty("in_force") Boolean inForce,
            @JsonProperty("trial") String trial,
            @JsonProperty("draft") String draft,
            @JsonProperty("changed_at") String changedAt,
            @JsonProperty("record") RuleCounts record,
            @JsonProperty("text") String text,
            @JsonProperty("says") String says,
            @JsonProperty("asked") List<ChangeAsked> asked) {}

    /** A schedule of schedules.yaml: when it is due next, and its last job. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ScheduleDocument(
            @JsonProperty("schedule") String schedule,
            @JsonProperty("kind") String kind,
            @JsonProperty("cron") String cron,
            @JsonProperty("zone") String zone,
            @JsonProperty("params") Map<String, Object> params,
            @JsonProperty("catch_up") String catchUp,
            @JsonProperty("overlap") String overlap,
            @JsonProperty("timeout_s") Long timeoutS,
            @JsonProperty("retries") Long retries,
            @JsonProperty("paused") Boolean paused,
            @JsonProperty("next_at_ms") Long nextAtMs,
            @JsonProperty("last") JobDocument last) {}

    /** The schedules of schedules.yaml, each with its next due time and its last job. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ScheduleList(
            @JsonProperty("schedules") List<ScheduleDocument> schedules) {}

    /** Whether the schedule is paused, and all schedules. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record SchedulePause(
            @JsonProperty("schedules") List<ScheduleDocument> schedules,
            @JsonProperty("schedule") String schedule,
            @JsonProperty("paused") Boolean paused) {}

    /**
     * Reports by payments of an acquirer or a merchant in a calendar month, and the limit of a scheme's
     * programme. `merchants` are those with most reports, for an acquirer. The ratio is null without payments.
     * At the pace of the last 28 days the limit is reached in `days_left` days, after `money_left` of further
     * reported payments; null if not in this month.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record SchemeRatio(
            @JsonProperty("programme") String programme,
            @JsonProperty("month") String month,
            @JsonProperty("acquirer") String acquirer,
            @JsonProperty("merchant") String merchant,
            @JsonProperty("reports") Long reports,
            @JsonProperty("money") String money,
            @JsonProperty("payments") Long payments,
            @JsonProperty("ratio") Double ratio,
            @JsonProperty("limit") Double limit,
            @JsonProperty("minimum") Long minimum,
            @JsonProperty("days_left") Long daysLeft,
            @JsonProperty("money_left") String moneyLeft,
            @JsonProperty("merchants") Map<String, Long> merchants) {}

    /** Second reviews: how many are waiting, done, and equal to the first; disagreements wait for a third person. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record SecondLooks(
            @JsonProperty("waiting") Long waiting,
            @JsonProperty("disagreements") Long disagreements,
            @JsonProperty("decided") Long decided,
            @JsonProperty("agreed") Long agreed,
            @JsonProperty("agreement") Double agreement) {}

    /** One session. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record SessionAnswer(
            @JsonProperty("session") SessionDocument session) {}

    /** An open session, without its token. `device` is what the browser says of itself. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record SessionDocument(
            @JsonProperty("id") String id,
            @JsonProperty("user") String user,
            @JsonProperty("address") String address,
            @JsonProperty("device") String device,
            @JsonProperty("signed_in_at") String signedInAt,
            @JsonProperty("used_at") String usedAt,
            @JsonProperty("ends_at") String endsAt) {}

    /** The sessions, most recently used first. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Sessions(
            @JsonProperty("sessions") List<SessionDocument> sessions) {}

    /** Put a draft in shadow: a new rule under its own id, a changed rule as a trial under another id. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ShadowDraft(
            @JsonProperty("etag") String etag,
            @JsonProperty("file") String file,
            @JsonProperty("reason") String reason) {}

    /** The changed rule. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ShowBlastRadius(
            @JsonProperty("text") String text) {}

    /** A user without an open session. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record SignedOutUser(
            @JsonProperty("user") UserDocument user) {}

    /** Approve, as the second person, a silence that somebody else requested; needs a signed-in user. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record SilenceApproval(
            @JsonProperty("rule") String rule,
            @JsonProperty("etag") String etag) {}

    /** End the silence of a rule for the key of the case; the answer says whether that is active. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record SilenceEnd(
            @JsonProperty("rule") String rule) {}

    /** Silence a rule for the key of the case, for events before a time; the answer says whether it is active. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record SilenceRequest(
            @JsonProperty("rule") String rule,
            @JsonProperty("until") String until,
            @JsonProperty("text") String text) {}

    /** The progress of a sink: `through` is null before the first delivery, `trouble` while rows are accepted. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record SinkHealth(
            @JsonProperty("name") String name,
            @JsonProperty("kind") String kind,
            @JsonProperty("through") Long through,
            @JsonProperty("lag") Long lag,
            @JsonProperty("stuck") Long stuck,
            @JsonProperty("trouble") String trouble) {}

    /**
     * A step: the users who reached it, their share of those at the first step, and seconds since the previous
     * step.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record StepRow(
            @JsonProperty("funnel") String funnel,
            @JsonProperty("step") String step,
            @JsonProperty("users") Long users,
            @JsonProperty("conversion") Double conversion,
            @JsonProperty("lower_quartile_s") Double lowerQuartileS,
            @JsonProperty("median_s") Double medianS,
            @JsonProperty("upper_quartile_s") Double upperQuartileS,
            @JsonProperty("value") String value) {}

    /** The rows that a table has now; `why_not` says why they are not active yet. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record TableChange(
            @JsonProperty("name") String name,
            @JsonProperty("rows") Long rows,
            @JsonProperty("is_new") Boolean isNew,
            @JsonProperty("why_not") String whyNot) {}

    /** A row of a table, its key as the file has it, and the line; `since` is the time from which on it is valid. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record TableRow(
            @JsonProperty("key") String key,
            @JsonProperty("line") Long line,
            @JsonProperty("since") String since,
            @JsonProperty("values") Map<String, String> values) {}

    /** The rows of a table, and the columns of a new one. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record TableRows(
            @JsonProperty("csv") String csv,
            @JsonProperty("key") String key,
            @JsonProperty("key_type") String keyType,
            @JsonProperty("columns") String columns) {}

    /** A table: its file, how keys are looked up (`equal`, `prefix`, `suffix`, `network`), and what reads it. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record TableSummary(
            @JsonProperty("name") String name,
            @JsonProperty("file") String file,
            @JsonProperty("match") String match,
            @JsonProperty("columns") List<String> columns,
            @JsonProperty("rows") Long rows,
            @JsonProperty("read_by") List<String> readBy) {}

    /** A table with its newest versions; the row that a value gives, and the rows that one version changed. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record TableView(
            @JsonProperty("table") TableSummary table,
            @JsonProperty("value") String value,
            @JsonProperty("row") TableRow row,
            @JsonProperty("versions") List<LookUpVersion> versions,
            @JsonProperty("difference") List<String> difference) {}

    /**
     * Result of a test mail: accepted by the mail server, or the refused addresses. `folder` is where its file
     * is if no server is set, for commands and programs on this machine.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record TestSent(
            @JsonProperty("sent") Boolean sent,
            @JsonProperty("refused") List<String> refused,
            @JsonProperty("folder") String folder) {}

    /** An event that a changed rule touches. A second look hides its label. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record TouchedEvent(
            @JsonProperty("id") String id,
            @JsonProperty("seq") Long seq,
            @JsonProperty("time") String time,
            @JsonProperty("money") String money,
            @JsonProperty("before") String before,
            @JsonProperty("after") String after,
            @JsonProperty("label") String label) {}

    /** Events touched in one way, with the number of different keys and of each label; `examples` are the newest. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record TouchedEvents(
            @JsonProperty("way") String way,
            @JsonProperty("events") Long events,
            @JsonProperty("money") String money,
            @JsonProperty("entities") Long entities,
            @JsonProperty("labels") Map<String, Long> labels,
            @JsonProperty("examples") List<TouchedEvent> examples) {}

    /**
     * Of the users who came to the first step on a day, the number that reached a step by the end of the last
     * day.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record TrendRow(
            @JsonProperty("funnel") String funnel,
            @JsonProperty("day") String day,
            @JsonProperty("step") String step,
            @JsonProperty("users") Long users) {}

    /** An event of a type that is not decided. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Undecided(
            @JsonProperty("decided") Boolean decided,
            @JsonProperty("event") String event,
            @JsonProperty("id") String id,
            @JsonProperty("seq") Long seq) {}

    /** One user. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record UserAnswer(
            @JsonProperty("user") UserDocument user) {}

    /** Change a user. A changed role or a disabled sign-in ends the user's sessions. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record UserChange(
            @JsonProperty("role") String role,
            @JsonProperty("disabled") Boolean disabled,
            @JsonProperty("display_name") String displayName,
            @JsonProperty("email") String email) {}

    /** A user, without a credential. `signs_in_by` is `password`, `oidc` or `nothing`. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record UserDocument(
            @JsonProperty("id") String id,
            @JsonProperty("name") String name,
            @JsonProperty("display_name") String displayName,
            @JsonProperty("email") String email,
            @JsonProperty("role") String role,
            @JsonProperty("disabled") Boolean disabled,
            @JsonProperty("signs_in_by") String signsInBy,
            @JsonProperty("second_factor") Boolean secondFactor,
            @JsonProperty("made_at") String madeAt,
            @JsonProperty("last_login_at") String lastLoginAt) {}

    /**
     * A one-time link: its path and its full URL, if the address of the service is known; without `user` for an
     * admin. It sets the user's password, or creates an admin.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record UserLink(
            @JsonProperty("link") String link,
            @JsonProperty("url") String url,
            @JsonProperty("user") String user) {}

    /** Users with their roles. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Users(
            @JsonProperty("users") List<UserDocument> users) {}

    /** A page of the users behind a number, in order, and their total; `next` if there are more. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record UsersPage(
            @JsonProperty("users") List<String> users,
            @JsonProperty("total") Long total,
            @JsonProperty("next") String next) {}

    /** A feature's values in earlier decisions of this entity. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Usual(
            @JsonProperty("count") Long count,
            @JsonProperty("lowest") Object lowest,
            @JsonProperty("median") Object median,
            @JsonProperty("highest") Object highest) {}

    /** Save a filter under a name of your own; an existing one is replaced. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ViewQuery(
            @JsonProperty("query") String query,
            @JsonProperty("shared") Boolean shared) {}

    /**
     * A waived gate, with the name of the promoter and the reason. `limit` is the failed limit, in words; old
     * files have none.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Waiver(
            @JsonProperty("gate") String gate,
            @JsonProperty("reason") String reason,
            @JsonProperty("by") String by,
            @JsonProperty("limit") String limit) {}

    /** Write the event that breaks a law as a test into a draft of a rule, which fails until the rule hits it. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record WriteLawTest(
            @JsonProperty("rule") String rule) {}
}
