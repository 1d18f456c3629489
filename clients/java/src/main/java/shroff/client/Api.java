// Made by tools/clients.py from the OpenAPI document; do not edit.
package shroff.client;

import com.fasterxml.jackson.core.type.TypeReference;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** The operations of a service, one method each. */
public class Api extends Transport {
    Api(String url, String key, Duration timeout) {
        super(url, key, timeout);
    }

    /** Count events by type and day; each event counts once. */
    public Types.CountRows postAnalyticsEventCounts(Types.CountQuestion body) {
        return call("POST", "/api/v1/analytics/event-counts", Map.of(), body, new TypeReference<Types.CountRows>() {});
    }

    /** List the event types, their fields for counts, and the sources of events. */
    public Types.CountableTypes getAnalyticsEventTypes() {
        return call("GET", "/api/v1/analytics/event-types", Map.of(), null, new TypeReference<Types.CountableTypes>() {});
    }

    /** Show the features of one key of an entity at a point in time. */
    public Types.FactsDocument postAnalyticsFacts(Types.KeyAtMoment body) {
        return call("POST", "/api/v1/analytics/facts", Map.of(), body, new TypeReference<Types.FactsDocument>() {});
    }

    /** List the funnels of funnels.yaml. */
    public Types.DeclaredFunnels getAnalyticsFunnels() {
        return call("GET", "/api/v1/analytics/funnels", Map.of(), null, new TypeReference<Types.DeclaredFunnels>() {});
    }

    /** Count the users at each step of a funnel, or of all funnels of funnels.yaml. */
    public Types.FunnelDocument postAnalyticsFunnels(Types.FunnelDays body) {
        return call("POST", "/api/v1/analytics/funnels", Map.of(), body, new TypeReference<Types.FunnelDocument>() {});
    }

    /** List the users behind a number of a funnel, up to 1,000 at once. */
    public Types.UsersPage postAnalyticsFunnelsUsers(Types.FunnelUsers body) {
        return call("POST", "/api/v1/analytics/funnels/users", Map.of(), body, new TypeReference<Types.UsersPage>() {});
    }

    /**
     * List the changes that wait for a second person: of rules, lists, silences, models, thresholds, users and
     * keys.
     */
    public Types.Approvals getApprovals() {
        return call("GET", "/api/v1/approvals", Map.of(), null, new TypeReference<Types.Approvals>() {});
    }

    /** Approve a change that another person requested, or withdraw it; both take the right that the change takes. */
    public Types.ApprovalAnswer putApprovalsEtag(String etag, Types.AnswerApproval body) {
        return call("PUT", "/api/v1/approvals/" + part(etag), Map.of(), body, new TypeReference<Types.ApprovalAnswer>() {});
    }

    /** Sum up a case. Keys, names, notes and texts of events are not sent to the model. */
    public Types.CaseSummary postAssistantCasesId(String id) {
        return call("POST", "/api/v1/assistant/cases/" + part(id), Map.of(), null, new TypeReference<Types.CaseSummary>() {});
    }

    /** Draft a rule from a sentence, check it, run its tests, count its hits and save it as a draft. */
    public Types.AssistantDraft postAssistantDrafts(Types.DraftRule body) {
        return call("POST", "/api/v1/assistant/drafts", Map.of(), body, new TypeReference<Types.AssistantDraft>() {});
    }

    /**
     * List the audit log, newest first: who did what, with old and new values. Options: who, action, subject,
     * from, to, limit, cursor.
     */
    public Types.AuditRows getAudit(Map<String, String> options) {
        return call("GET", "/api/v1/audit", options, null, new TypeReference<Types.AuditRows>() {});
    }

    /** Verify the hash chain of the audit log and its sealed end. */
    public Types.AuditCheck postAuditVerify() {
        return call("POST", "/api/v1/audit/verify", Map.of(), null, new TypeReference<Types.AuditCheck>() {});
    }

    /**
     * Show the rules that close cases: on past cases, with the fraud among them, and since their approval.
     * Options: days.
     */
    public Types.CloseRules getAutoClose(Map<String, String> options) {
        return call("GET", "/api/v1/auto-close", options, null, new TypeReference<Types.CloseRules>() {});
    }

    /** Let a rule close cases from now on, as it is now: a changed rule needs another approval. */
    public Types.CloseRules postAutoCloseRuleApprove(String rule) {
        return call("POST", "/api/v1/auto-close/" + part(rule) + "/approve", Map.of(), null, new TypeReference<Types.CloseRules>() {});
    }

    /** Let a rule close no more cases until it is approved again. */
    public Types.CloseRules postAutoCloseRuleStop(String rule) {
        return call("POST", "/api/v1/auto-close/" + part(rule) + "/stop", Map.of(), null, new TypeReference<Types.CloseRules>() {});
    }

    /** List the back-tests of drafts. */
    public Types.BacktestRuns getBacktests() {
        return call("GET", "/api/v1/backtests", Map.of(), null, new TypeReference<Types.BacktestRuns>() {});
    }

    /** Compare a draft of rules, a policy or a model with the project without it, over the log. */
    public Object postBacktests(Types.BacktestRequest body) {
        return call("POST", "/api/v1/backtests", Map.of(), body, new TypeReference<Object>() {});
    }

    /** Get the progress of a back-test, and its final report. */
    public Types.BacktestRun getBacktestsId(String id) {
        return call("GET", "/api/v1/backtests/" + part(id), Map.of(), null, new TypeReference<Types.BacktestRun>() {});
    }

    /** Get today's review capacity: cases done, expected end of the queue, and second reviews. Options: since. */
    public Types.Capacity getCapacity(Map<String, String> options) {
        return call("GET", "/api/v1/capacity", options, null, new TypeReference<Types.Capacity>() {});
    }

    /**
     * List the cases that match a filter (the queue), those due first at the top. Options: state, entity, key,
     * assignee, rule, min_stake, due_within, text, customer, tag, queue, order, limit, cursor.
     */
    public Types.CaseList getCases(Map<String, String> options) {
        return call("GET", "/api/v1/cases", options, null, new TypeReference<Types.CaseList>() {});
    }

    /** Decide, claim or snooze several cases. Cases that cannot be changed are reported; the others are changed. */
    public Types.CasesActed postCasesBulk(Types.CasesAction body) {
        return call("POST", "/api/v1/cases/bulk", Map.of(), body, new TypeReference<Types.CasesActed>() {});
    }

    /**
     * Claim the case that is due first, of those that match a filter and are free or already yours. Options:
     * state, entity, key, assignee, rule, min_stake, due_within, text, customer, tag, queue, order.
     */
    public Types.CaseClaimed postCasesClaimNext(Map<String, String> options) {
        return call("POST", "/api/v1/cases/claim-next", options, null, new TypeReference<Types.CaseClaimed>() {});
    }

    /** Undo a recent action on one or several cases; those that another user has changed since stay unchanged. */
    public Types.CasesUndone postCasesUndo(Types.CaseUndo body) {
        return call("POST", "/api/v1/cases/undo", Map.of(), body, new TypeReference<Types.CasesUndone>() {});
    }

    /** Show one case with its alerts, notes, history and files. */
    public Types.CaseWhole getCasesId(String id) {
        return call("GET", "/api/v1/cases/" + part(id), Map.of(), null, new TypeReference<Types.CaseWhole>() {});
    }

    /**
     * Approve, as the second person, a silence that somebody else requested; needs a signed-in user. Options:
     * If-Match.
     */
    public Types.CaseSilenced postCasesIdApproveSilence(String id, Types.SilenceApproval body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/approve-silence", options, body, new TypeReference<Types.CaseSilenced>() {});
    }

    /** Assign a case to a user by name, or to nobody. Options: If-Match. */
    public Types.Case postCasesIdAssign(String id, Types.CaseAssignment body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/assign", options, body, new TypeReference<Types.Case>() {});
    }

    /** Tick an item of a case's checklist, or open it again. Options: If-Match. */
    public Types.Case postCasesIdCheck(String id, Types.CaseChecked body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/check", options, body, new TypeReference<Types.Case>() {});
    }

    /** Claim a case; it is locked for you until the lock expires. Options: If-Match. */
    public Types.Case postCasesIdClaim(String id, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/claim", options, null, new TypeReference<Types.Case>() {});
    }

    /**
     * Decide a case: it closes at once; labels of its events are written 8 s later unless you undo it. Options:
     * If-Match.
     */
    public Types.CaseDecided postCasesIdDecide(String id, Types.CaseVerdict body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/decide", options, body, new TypeReference<Types.CaseDecided>() {});
    }

    /**
     * End the silence of a rule for the key of the case; the answer says whether that is active. Options: If-
     * Match.
     */
    public Types.CaseSilenced postCasesIdEndSilence(String id, Types.SilenceEnd body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/end-silence", options, body, new TypeReference<Types.CaseSilenced>() {});
    }

    /** Escalate a case, to a user or to anybody else. Options: If-Match. */
    public Types.Case postCasesIdEscalate(String id, Types.CaseEscalation body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/escalate", options, body, new TypeReference<Types.Case>() {});
    }

    /** Run a macro: its note, its tags, and its answer, escalation or snooze in one step. Options: If-Match. */
    public Types.CaseDecided postCasesIdMacro(String id, Types.CaseMacro body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/macro", options, body, new TypeReference<Types.CaseDecided>() {});
    }

    /** Move a case to another queue. Options: If-Match. */
    public Types.Case postCasesIdMove(String id, Types.CaseMove body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/move", options, body, new TypeReference<Types.Case>() {});
    }

    /** Add a note to a case. */
    public Types.Case postCasesIdNote(String id, Types.CaseText body) {
        return call("POST", "/api/v1/cases/" + part(id) + "/note", Map.of(), body, new TypeReference<Types.Case>() {});
    }

    /** Release a case. Options: If-Match. */
    public Types.Case postCasesIdRelease(String id, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/release", options, null, new TypeReference<Types.Case>() {});
    }

    /** Reopen a closed case. Options: If-Match. */
    public Types.Case postCasesIdReopen(String id, Types.CaseText body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/reopen", options, body, new TypeReference<Types.Case>() {});
    }

    /**
     * Silence a rule for the key of the case, for events before a time; the answer says whether it is active.
     * Options: If-Match.
     */
    public Types.CaseSilenced postCasesIdSilence(String id, Types.SilenceRequest body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/silence", options, body, new TypeReference<Types.CaseSilenced>() {});
    }

    /** Snooze a case until a time. Options: If-Match. */
    public Types.CaseActed postCasesIdSnooze(String id, Types.CaseSnooze body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/snooze", options, body, new TypeReference<Types.CaseActed>() {});
    }

    /** Set the tags of a case, open or closed. Options: If-Match. */
    public Types.Case postCasesIdTags(String id, Types.CaseTags body, Map<String, String> options) {
        return call("POST", "/api/v1/cases/" + part(id) + "/tags", options, body, new TypeReference<Types.Case>() {});
    }

    /** Undo a recent action, by its number. */
    public Types.CasesUndone postCasesIdUndo(String id, Types.CaseUndo body) {
        return call("POST", "/api/v1/cases/" + part(id) + "/undo", Map.of(), body, new TypeReference<Types.CasesUndone>() {});
    }

    /** List inactive changes in the project's files: files, and settings of shroff.yaml. */
    public Types.FileChanges getChanges() {
        return call("GET", "/api/v1/changes", Map.of(), null, new TypeReference<Types.FileChanges>() {});
    }

    /** Make the project's files the active version, from the next event on. */
    public Types.AppliedChanges postChangesApply(Types.ChangesStep body) {
        return call("POST", "/api/v1/changes/apply", Map.of(), body, new TypeReference<Types.AppliedChanges>() {});
    }

    /** A decision. Options: explain. */
    public Types.Decision getDecisionsEventId(String event, String id, Map<String, String> options) {
        return call("GET", "/api/v1/decisions/" + part(event) + "/" + part(id), options, null, new TypeReference<Types.Decision>() {});
    }

    /** Explain a decision: the model's reasons, its features beside earlier values, and its rules in words. */
    public Types.Decision getDecisionsEventIdExplain(String event, String id) {
        return call("GET", "/api/v1/decisions/" + part(event) + "/" + part(id) + "/explain", Map.of(), null, new TypeReference<Types.Decision>() {});
    }

    /** List the questions to customers about a decision, and their answers. */
    public Types.Questions getDecisionsEventIdQuestions(String event, String id) {
        return call("GET", "/api/v1/decisions/" + part(event) + "/" + part(id) + "/questions", Map.of(), null, new TypeReference<Types.Questions>() {});
    }

    /** Replay a decision: compute it again from the log and compare. */
    public Types.Replay getDecisionsEventIdReplay(String event, String id) {
        return call("GET", "/api/v1/decisions/" + part(event) + "/" + part(id) + "/replay", Map.of(), null, new TypeReference<Types.Replay>() {});
    }

    /**
     * List disputes at their latest stage, with due dates and whether they meet Visa's Compelling Evidence 3.0.
     * Options: open, stage, due_within, as_of, limit, cursor.
     */
    public Types.DisputePage getDisputes(Map<String, String> options) {
        return call("GET", "/api/v1/disputes", options, null, new TypeReference<Types.DisputePage>() {});
    }

    /** Import stages of disputes, each as a label of the source 'chargeback'. */
    public Types.DisputesImported postDisputes(Types.ImportDisputes body) {
        return call("POST", "/api/v1/disputes", Map.of(), body, new TypeReference<Types.DisputesImported>() {});
    }

    /**
     * Make the evidence pack of disputes: payment, decision and reasons, device, addresses, receipt, prior
     * payments. Options: event.
     */
    public Types.DisputeList getDisputesPack(Map<String, String> options) {
        return call("GET", "/api/v1/disputes/pack", options, null, new TypeReference<Types.DisputeList>() {});
    }

    /** List all rule drafts. */
    public Types.RuleDrafts getDrafts() {
        return call("GET", "/api/v1/drafts", Map.of(), null, new TypeReference<Types.RuleDrafts>() {});
    }

    /**
     * List keys of an entity with their newest events and flags: the newest keys, or those that begin with a
     * text. Options: prefix, limit, cursor.
     */
    public Types.EntityKeys getEntitiesEntity(String entity, Map<String, String> options) {
        return call("GET", "/api/v1/entities/" + part(entity), options, null, new TypeReference<Types.EntityKeys>() {});
    }

    /**
     * Get one key of an entity: its events, features as of the last decision, flags, and related keys. Options:
     * limit, cursor.
     */
    public Types.EntityView getEntitiesEntityKey(String entity, String key, Map<String, String> options) {
        return call("GET", "/api/v1/entities/" + part(entity) + "/" + part(key), options, null, new TypeReference<Types.EntityView>() {});
    }

    /**
     * Show by which values a key is linked to other keys of its entity, and what happened with them. Options:
     * as_of, steps.
     */
    public Types.EntityLinksAnswer getEntitiesEntityKeyLinks(String entity, String key, Map<String, String> options) {
        return call("GET", "/api/v1/entities/" + part(entity) + "/" + part(key) + "/links", options, null, new TypeReference<Types.EntityLinksAnswer>() {});
    }

    /**
     * Compare the keys that an experiment or the rollout of a rule has drawn with all others, in money. Options:
     * rule, as_of.
     */
    public Types.Experiment getExperiments(Map<String, String> options) {
        return call("GET", "/api/v1/experiments", options, null, new TypeReference<Types.Experiment>() {});
    }

    /** End an experiment of policy.yaml: all keys get the policy of arm A, or with --promote that of arm B. */
    public Types.AppliedCutoffs postExperimentsEnd(Types.EndExperiment body) {
        return call("POST", "/api/v1/experiments/end", Map.of(), body, new TypeReference<Types.AppliedCutoffs>() {});
    }

    /**
     * Profile features: type, cost, what reads them, and their values at the newest 1,000 decided events.
     * Options: event, expression.
     */
    public Types.FeatureProfiles getFeatures(Map<String, String> options) {
        return call("GET", "/api/v1/features", options, null, new TypeReference<Types.FeatureProfiles>() {});
    }

    /** List the flags of one key of an entity, newest first. Options: entity, key, field, value, limit, cursor. */
    public Types.Flags getFlags(Map<String, String> options) {
        return call("GET", "/api/v1/flags", options, null, new TypeReference<Types.Flags>() {});
    }

    /**
     * Record whether a flag was right. The answer becomes an analyst's label, fraud or genuine, of its event: it
     * judges all flags of that event.
     */
    public Types.FlagShown patchFlagsId(String id, Types.FlagJudgement body) {
        return call("PATCH", "/api/v1/flags/" + part(id), Map.of(), body, new TypeReference<Types.FlagShown>() {});
    }

    /** List the guards with what they found last. */
    public Types.GuardStates getGuards() {
        return call("GET", "/api/v1/guards", Map.of(), null, new TypeReference<Types.GuardStates>() {});
    }

    /** Undo a stop: the file is as it was before, and the guard stays off until its text changes. */
    public Types.GuardStates postGuardsNameUndo(String name) {
        return call("POST", "/api/v1/guards/" + part(name) + "/undo", Map.of(), null, new TypeReference<Types.GuardStates>() {});
    }

    /**
     * Get the service's health: the findings of `shroff doctor`, at most a minute old, sinks, drift, and alerts
     * of Prometheus that fire.
     */
    public Types.Health getHealth() {
        return call("GET", "/api/v1/health", Map.of(), null, new TypeReference<Types.Health>() {});
    }

    /**
     * Receive alerts of Prometheus from Alertmanager (a `webhook_configs` receiver). `GET /api/v1/health` and
     * the screen *Health* show those that fire, at most 200. An alert ends when it is resolved, or 15 minutes
     * after its last repeat.
     */
    public Types.AlertCount postHealthAlerts(Types.PostedAlerts body) {
        return call("POST", "/api/v1/health/alerts", Map.of(), body, new TypeReference<Types.AlertCount>() {});
    }

    /** List the newest jobs with their states and progress, newest first. Options: limit, before. */
    public Types.JobList getJobs(Map<String, String> options) {
        return call("GET", "/api/v1/jobs", options, null, new TypeReference<Types.JobList>() {});
    }

    /** Queue a job: features, train, backtest, lake, marts and others. Only one job of a kind can wait or run. */
    public Types.JobDocument postJobs(Types.NewJob body) {
        return call("POST", "/api/v1/jobs", Map.of(), body, new TypeReference<Types.JobDocument>() {});
    }

    /** List the kinds of jobs and their parameters. */
    public Types.JobKinds getJobsKinds() {
        return call("GET", "/api/v1/jobs/kinds", Map.of(), null, new TypeReference<Types.JobKinds>() {});
    }

    /** Show a job: its parameters, progress by step, log and result. */
    public Types.JobDocument getJobsId(String id) {
        return call("GET", "/api/v1/jobs/" + part(id), Map.of(), null, new TypeReference<Types.JobDocument>() {});
    }

    /** Cancel a job that waits or runs; a running one stops soon. Requires the right to start it. */
    public Types.JobDocument postJobsIdCancel(String id) {
        return call("POST", "/api/v1/jobs/" + part(id) + "/cancel", Map.of(), null, new TypeReference<Types.JobDocument>() {});
    }

    /** List all API keys, revoked ones included, without their secret text. */
    public Types.Keys getKeys() {
        return call("GET", "/api/v1/keys", Map.of(), null, new TypeReference<Types.Keys>() {});
    }

    /** Create an API key and show it, this one time. It has at most the rights of its creator. */
    public Types.NewKeyAnswer postKeys(Types.NewKey body) {
        return call("POST", "/api/v1/keys", Map.of(), body, new TypeReference<Types.NewKeyAnswer>() {});
    }

    /**
     * Revoke an API key by its id, its name or its text. Running services may accept it for one more second.
     * Options: with_made.
     */
    public Types.RevokedKey deleteKeysId(String id, Map<String, String> options) {
        return call("DELETE", "/api/v1/keys/" + part(id), options, null, new TypeReference<Types.RevokedKey>() {});
    }

    /** Get statistics of labels: how many, how fast, conflicting, unmatched, and customers' answers. */
    public Types.LabelsTogether getLabels() {
        return call("GET", "/api/v1/labels", Map.of(), null, new TypeReference<Types.LabelsTogether>() {});
    }

    /** Prove the laws in laws/*.yaml for all events, or refute each by an event that breaks it. */
    public Types.LawsProved getLaws() {
        return call("GET", "/api/v1/laws", Map.of(), null, new TypeReference<Types.LawsProved>() {});
    }

    /** Write the event that breaks a law as a test into a draft of a rule, which fails until the rule hits it. */
    public Types.RuleDraftText postLawsLawTest(String law, Types.WriteLawTest body) {
        return call("POST", "/api/v1/laws/" + part(law) + "/test", Map.of(), body, new TypeReference<Types.RuleDraftText>() {});
    }

    /** List the lists that rules and features read. */
    public Types.Lists getLists() {
        return call("GET", "/api/v1/lists", Map.of(), null, new TypeReference<Types.Lists>() {});
    }

    /** Show the entries of a list, in the order of its file. */
    public Types.ListEntries getListsList(String list) {
        return call("GET", "/api/v1/lists/" + part(list), Map.of(), null, new TypeReference<Types.ListEntries>() {});
    }

    /**
     * Add entries of a CSV file to a list and make them active; entries with the same value are replaced.
     * Options: If-Match.
     */
    public Types.ListChange putListsList(String list, Types.ListSheet body, Map<String, String> options) {
        return call("PUT", "/api/v1/lists/" + part(list), options, body, new TypeReference<Types.ListChange>() {});
    }

    /** Approve, as the second person, a requested change of a list. */
    public Types.ListChange postListsListApprove(String list, Types.ListApproval body) {
        return call("POST", "/api/v1/lists/" + part(list) + "/approve", Map.of(), body, new TypeReference<Types.ListChange>() {});
    }

    /** Add a value to lists/NAME.csv and make it active; an entry with the same value is replaced. */
    public Types.ListChange postListsListEntries(String list, Types.NewListEntry body) {
        return call("POST", "/api/v1/lists/" + part(list) + "/entries", Map.of(), body, new TypeReference<Types.ListChange>() {});
    }

    /** Remove a value from lists/NAME.csv and make that active. Options: reason. */
    public Types.ListChange deleteListsListEntriesValue(String list, String value, Map<String, String> options) {
        return call("DELETE", "/api/v1/lists/" + part(list) + "/entries/" + part(value), options, null, new TypeReference<Types.ListChange>() {});
    }

    /**
     * Get live figures: events and decisions in a period up to the newest event, latency, and backlog. Options:
     * period.
     */
    public Types.Live getLive(Map<String, String> options) {
        return call("GET", "/api/v1/live", options, null, new TypeReference<Types.Live>() {});
    }

    /** List the built-in mailbox: mails stored as files, if no mail server is set. Options: limit. */
    public Types.Mailbox getMailbox(Map<String, String> options) {
        return call("GET", "/api/v1/mailbox", options, null, new TypeReference<Types.Mailbox>() {});
    }

    /** Get one mail of the built-in mailbox. */
    public Types.KeptMail getMailboxName(String name) {
        return call("GET", "/api/v1/mailbox/" + part(name), Map.of(), null, new TypeReference<Types.KeptMail>() {});
    }

    /** List the models of the registry with their current state, newest first. */
    public Types.Models getModels() {
        return call("GET", "/api/v1/models", Map.of(), null, new TypeReference<Types.Models>() {});
    }

    /** Show one model: its origin, its metrics and its gates. */
    public Types.Model getModelsId(String id) {
        return call("GET", "/api/v1/models/" + part(id), Map.of(), null, new TypeReference<Types.Model>() {});
    }

    /** Promote a model, roll it back, put it in shadow or take it out; with a reason, which is recorded. */
    public Types.Deployment postModelsId(String id, Types.ModelChange body) {
        return call("POST", "/api/v1/models/" + part(id), Map.of(), body, new TypeReference<Types.Deployment>() {});
    }

    /**
     * List the names that a rule's expressions can use: features, fields, functions, lists and tables, with
     * types.
     */
    public Types.Names getNames() {
        return call("GET", "/api/v1/names", Map.of(), null, new TypeReference<Types.Names>() {});
    }

    /** List the notices of the project with their triggers and channels. */
    public Types.Notices getNotices() {
        return call("GET", "/api/v1/notices", Map.of(), null, new TypeReference<Types.Notices>() {});
    }

    /**
     * Make a link for the customer to a page with the reasons of a decision, where they can say that it is
     * wrong.
     */
    public Types.ReasonsLink postNoticesWhy(Types.LinkReasons body) {
        return call("POST", "/api/v1/notices/why", Map.of(), body, new TypeReference<Types.ReasonsLink>() {});
    }

    /** Preview the mail of a notice. Nothing is sent, and the link in it does not work. Options: event, day. */
    public Types.MailPreview getNoticesNamePreview(String name, Map<String, String> options) {
        return call("GET", "/api/v1/notices/" + part(name) + "/preview", options, null, new TypeReference<Types.MailPreview>() {});
    }

    /** Send the mail of a notice to an address, marked as a test. Exit status 1 if it is refused. */
    public Types.TestSent postNoticesNameTest(String name, Types.NoticeTest body) {
        return call("POST", "/api/v1/notices/" + part(name) + "/test", Map.of(), body, new TypeReference<Types.TestSent>() {});
    }

    /**
     * List the newest letters (mails, calls and documents): sent, waiting or refused. Options: state, limit,
     * cursor.
     */
    public Types.LetterPage getOutbox(Map<String, String> options) {
        return call("GET", "/api/v1/outbox", options, null, new TypeReference<Types.LetterPage>() {});
    }

    /** Send a letter again that was refused, or whose delivery is unknown. */
    public Types.LetterShown postOutboxIdRetry(String id) {
        return call("POST", "/api/v1/outbox/" + part(id) + "/retry", Map.of(), null, new TypeReference<Types.LetterShown>() {});
    }

    /** List quarantined input, newest first. Options: limit, cursor. */
    public Types.QuarantinePage getQuarantine(Map<String, String> options) {
        return call("GET", "/api/v1/quarantine", options, null, new TypeReference<Types.QuarantinePage>() {});
    }

    /** Drop quarantined entries for good. */
    public Types.DroppedEntries postQuarantineDrop(Types.QuarantineNumbers body) {
        return call("POST", "/api/v1/quarantine/drop", Map.of(), body, new TypeReference<Types.DroppedEntries>() {});
    }

    /** Retry entries with the current project, all of them if no number is given; refused entries stay. */
    public Types.RetriedEntries postQuarantineRetry(Types.QuarantineNumbers body) {
        return call("POST", "/api/v1/quarantine/retry", Map.of(), body, new TypeReference<Types.RetriedEntries>() {});
    }

    /** List every rule with its state and its statistics over the newest part of the log. */
    public Types.RuleStates getRecords() {
        return call("GET", "/api/v1/records", Map.of(), null, new TypeReference<Types.RuleStates>() {});
    }

    /**
     * Report what fraud cost and what decisions did: volume, outcomes, fraud caught and missed, false declines.
     * Options: from, to, by, as_of, zone.
     */
    public Types.Results getResults(Map<String, String> options) {
        return call("GET", "/api/v1/results", options, null, new TypeReference<Types.Results>() {});
    }

    /** List the rule files. */
    public Types.RuleFiles getRules() {
        return call("GET", "/api/v1/rules", Map.of(), null, new TypeReference<Types.RuleFiles>() {});
    }

    /** Get one rule file with its text. */
    public Types.RuleFileText getRulesFile(String file) {
        return call("GET", "/api/v1/rules/" + part(file), Map.of(), null, new TypeReference<Types.RuleFileText>() {});
    }

    /**
     * Replace the text of a rule file: it is checked with its tests, written, and made active. Options: If-
     * Match, If-None-Match.
     */
    public Types.RuleFileWritten putRulesFile(String file, Types.NewRuleFile body, Map<String, String> options) {
        return call("PUT", "/api/v1/rules/" + part(file), options, body, new TypeReference<Types.RuleFileWritten>() {});
    }

    /** Restore a rule's version from a sequence number of the log; 0 removes the rule. */
    public Types.AdoptedFile postRulesRuleBack(String rule, Types.RuleReturn body) {
        return call("POST", "/api/v1/rules/" + part(rule) + "/back", Map.of(), body, new TypeReference<Types.AdoptedFile>() {});
    }

    /** Show what a changed rule would have touched in the last 30 days: decisions, money, keys, and examples. */
    public Types.BlastRadius postRulesRuleBlastRadius(String rule, Types.ShowBlastRadius body) {
        return call("POST", "/api/v1/rules/" + part(rule) + "/blast-radius", Map.of(), body, new TypeReference<Types.BlastRadius>() {});
    }

    /** Show the text of a draft. */
    public Types.RuleDraftText getRulesRuleDraft(String rule) {
        return call("GET", "/api/v1/rules/" + part(rule) + "/draft", Map.of(), null, new TypeReference<Types.RuleDraftText>() {});
    }

    /** Save the draft of a rule, even if it has errors. Nothing becomes active. Options: If-Match, If-None-Match. */
    public Types.RuleDraftChecked putRulesRuleDraft(String rule, Types.DraftBody body, Map<String, String> options) {
        return call("PUT", "/api/v1/rules/" + part(rule) + "/draft", options, body, new TypeReference<Types.RuleDraftChecked>() {});
    }

    /** Delete a draft and its trial. Options: If-Match. */
    public Types.DroppedDraft deleteRulesRuleDraft(String rule, Map<String, String> options) {
        return call("DELETE", "/api/v1/rules/" + part(rule) + "/draft", options, null, new TypeReference<Types.DroppedDraft>() {});
    }

    /** Make a draft active; it replaces the rule and its trial. Laws that are required must be proved with it. */
    public Types.AdoptedFile postRulesRuleDraftActivate(String rule, Types.ActivateDraft body) {
        return call("POST", "/api/v1/rules/" + part(rule) + "/draft/activate", Map.of(), body, new TypeReference<Types.AdoptedFile>() {});
    }

    /** Approve a draft that others wrote. */
    public Types.RuleDraft postRulesRuleDraftApprove(String rule, Types.ApproveDraft body) {
        return call("POST", "/api/v1/rules/" + part(rule) + "/draft/approve", Map.of(), body, new TypeReference<Types.RuleDraft>() {});
    }

    /** Check an unsaved text: errors with line and column, test results, the rule in words, and as a form. */
    public Types.DraftCheck postRulesRuleDraftCheck(String rule, Types.FormBody body) {
        return call("POST", "/api/v1/rules/" + part(rule) + "/draft/check", Map.of(), body, new TypeReference<Types.DraftCheck>() {});
    }

    /** Count the hits of an unsaved text among the events of the last 30 days, and their amount. */
    public Types.DraftCount postRulesRuleDraftCount(String rule, Types.DraftBody body) {
        return call("POST", "/api/v1/rules/" + part(rule) + "/draft/count", Map.of(), body, new TypeReference<Types.DraftCount>() {});
    }

    /** Prove that a rule's draft, made active, loosens nothing of the active policy; and all laws with it. */
    public Types.LawsProved getRulesRuleDraftLaws(String rule) {
        return call("GET", "/api/v1/rules/" + part(rule) + "/draft/laws", Map.of(), null, new TypeReference<Types.LawsProved>() {});
    }

    /** Put a draft in shadow: a new rule under its own id, a changed rule as a trial under another id. */
    public Types.AdoptedFile postRulesRuleDraftShadow(String rule, Types.ShadowDraft body) {
        return call("POST", "/api/v1/rules/" + part(rule) + "/draft/shadow", Map.of(), body, new TypeReference<Types.AdoptedFile>() {});
    }

    /** List the versions of a rule, with their authors. */
    public Types.RuleVersions getRulesRuleHistory(String rule) {
        return call("GET", "/api/v1/rules/" + part(rule) + "/history", Map.of(), null, new TypeReference<Types.RuleVersions>() {});
    }

    /** List the newest events that a rule hit, with their labels. Options: limit, cursor. */
    public Types.RuleHits getRulesRuleHits(String rule, Map<String, String> options) {
        return call("GET", "/api/v1/rules/" + part(rule) + "/hits", options, null, new TypeReference<Types.RuleHits>() {});
    }

    /** Show one rule in words, with its statistics. */
    public Types.RuleWhole getRulesRuleRecord(String rule) {
        return call("GET", "/api/v1/rules/" + part(rule) + "/record", Map.of(), null, new TypeReference<Types.RuleWhole>() {});
    }

    /** List the schedules of schedules.yaml: what they run, when they are due next, and their last result. */
    public Types.ScheduleList getSchedules() {
        return call("GET", "/api/v1/schedules", Map.of(), null, new TypeReference<Types.ScheduleList>() {});
    }

    /** Pause a schedule. Runs that are due during the pause are skipped. */
    public Types.SchedulePause postSchedulesNamePause(String name) {
        return call("POST", "/api/v1/schedules/" + part(name) + "/pause", Map.of(), null, new TypeReference<Types.SchedulePause>() {});
    }

    /** Resume a paused schedule, from now on. */
    public Types.SchedulePause postSchedulesNameResume(String name) {
        return call("POST", "/api/v1/schedules/" + part(name) + "/resume", Map.of(), null, new TypeReference<Types.SchedulePause>() {});
    }

    /** Run the job of a schedule now. */
    public Types.JobDocument postSchedulesNameRun(String name) {
        return call("POST", "/api/v1/schedules/" + part(name) + "/run", Map.of(), null, new TypeReference<Types.JobDocument>() {});
    }

    /** List open sessions. */
    public Types.Sessions getSessions() {
        return call("GET", "/api/v1/sessions", Map.of(), null, new TypeReference<Types.Sessions>() {});
    }

    /** End a session. */
    public Types.SessionAnswer deleteSessionsId(String id) {
        return call("DELETE", "/api/v1/sessions/" + part(id), Map.of(), null, new TypeReference<Types.SessionAnswer>() {});
    }

    /** List look-up tables: how they are looked up, their rows, and what reads them. */
    public Types.LookUpTables getTables() {
        return call("GET", "/api/v1/tables", Map.of(), null, new TypeReference<Types.LookUpTables>() {});
    }

    /**
     * Show a look-up table: the row that a value gives, its versions, and who applied them. Options: value, at,
     * seq.
     */
    public Types.TableView getTablesName(String name, Map<String, String> options) {
        return call("GET", "/api/v1/tables/" + part(name), options, null, new TypeReference<Types.TableView>() {});
    }

    /** Create a look-up table from a CSV file, or replace all rows of one, and make that active. */
    public Types.TableChange putTablesName(String name, Types.TableRows body) {
        return call("PUT", "/api/v1/tables/" + part(name), Map.of(), body, new TypeReference<Types.TableChange>() {});
    }

    /**
     * Choose the thresholds of the score with the lowest cost of fraud, declines and reviews, by policy.yaml.
     * Options: event, model, missed, false_decline, review, reviews_a_day, review_at, decline_at.
     */
    public Types.CheapestThresholds getThresholds(Map<String, String> options) {
        return call("GET", "/api/v1/thresholds", options, null, new TypeReference<Types.CheapestThresholds>() {});
    }

    /**
     * Write other thresholds, and costs, of an event type into policy.yaml; with a reason, which is recorded.
     * Options: If-Match.
     */
    public Types.AppliedCutoffs putThresholdsEvent(String event, Types.NewCutoffs body, Map<String, String> options) {
        return call("PUT", "/api/v1/thresholds/" + part(event), options, body, new TypeReference<Types.AppliedCutoffs>() {});
    }

    /** List all users with their roles. */
    public Types.Users getUsers() {
        return call("GET", "/api/v1/users", Map.of(), null, new TypeReference<Types.Users>() {});
    }

    /** Add a user. Without a password, the output has a one-time link to set one, valid for three days. */
    public Types.NewUserAnswer postUsers(Types.NewUser body) {
        return call("POST", "/api/v1/users", Map.of(), body, new TypeReference<Types.NewUserAnswer>() {});
    }

    /** Change a user. A changed role or a disabled sign-in ends the user's sessions. */
    public Types.UserAnswer patchUsersName(String name, Types.UserChange body) {
        return call("PATCH", "/api/v1/users/" + part(name), Map.of(), body, new TypeReference<Types.UserAnswer>() {});
    }

    /** Remove a user and the API keys that the user made. The audit log keeps the name and its actions. */
    public Types.RemovedUser deleteUsersName(String name) {
        return call("DELETE", "/api/v1/users/" + part(name), Map.of(), null, new TypeReference<Types.RemovedUser>() {});
    }

    /** Remove the second factor of a user who lost the device; the user's sessions end. Options: code. */
    public Types.FactorlessUser deleteUsersNameFactor(String name, Map<String, String> options) {
        return call("DELETE", "/api/v1/users/" + part(name) + "/factor", options, null, new TypeReference<Types.FactorlessUser>() {});
    }

    /** Create a one-time link: with a NAME it sets that user's password, without one it creates an admin. */
    public Types.UserLink postUsersNameLink(String name) {
        return call("POST", "/api/v1/users/" + part(name) + "/link", Map.of(), null, new TypeReference<Types.UserLink>() {});
    }

    /** End all sessions of a user, who may sign in again. */
    public Types.SignedOutUser deleteUsersNameSessions(String name) {
        return call("DELETE", "/api/v1/users/" + part(name) + "/sessions", Map.of(), null, new TypeReference<Types.SignedOutUser>() {});
    }

    /** List saved filters: built-in ones, your own, and those that others share. */
    public Types.CaseViews getViews() {
        return call("GET", "/api/v1/views", Map.of(), null, new TypeReference<Types.CaseViews>() {});
    }

    /** Save a filter under a name of your own; an existing one is replaced. */
    public Types.CaseView putViewsName(String name, Types.ViewQuery body) {
        return call("PUT", "/api/v1/views/" + part(name), Map.of(), body, new TypeReference<Types.CaseView>() {});
    }

    /** Delete one of your saved filters. */
    public Types.RemovedView deleteViewsName(String name) {
        return call("DELETE", "/api/v1/views/" + part(name), Map.of(), null, new TypeReference<Types.RemovedView>() {});
    }

    /** Check that the process responds (liveness). */
    public Types.Liveness getHealthLive() {
        return call("GET", "/health/live", Map.of(), null, new TypeReference<Types.Liveness>() {});
    }

    /** Check readiness: whether the service accepts events. */
    public Types.Readiness getHealthReady() {
        return call("GET", "/health/ready", Map.of(), null, new TypeReference<Types.Readiness>() {});
    }
}
