// Made by tools/clients.py from the OpenAPI document; do not edit.
import { Transport, part } from "./transport.js";

/** Make a draft active; it replaces the rule and its trial. Laws that are required must be proved with it. */
export interface ActivateDraft {
  etag: string;
  file?: string;
  reason?: string;
}

/** The file of a rule, and whether the log uses it yet. */
export interface AdoptedFile {
  file: string;
  in_force: boolean;
  why_not: string | null;
}

/** The number of alerts that fire now. */
export interface AlertCount {
  firing: number;
}

/** The label of an alert. */
export interface AlertLabel {
  verdict: string;
  source: string | null;
  known_at: string | null;
}

/** Approve a change that another person requested, or withdraw it; both take the right that the change takes. */
export interface AnswerApproval {
  /** Whether to approve it; false withdraws the request. */
  approve: boolean;
  /** The reason, where the change takes one; a code of your own, where a second factor is to go. */
  note?: string;
}

/** The changes that were applied, and the sequence number from which the log uses them. */
export interface AppliedChanges {
  changed: FileChange[];
  seq: number | null;
  applied: boolean;
  why_not: string | null;
}

/** Whether they are active in the log yet, and a warning where arm B was promoted and is not proven better. */
export interface AppliedCutoffs {
  in_force: boolean;
  why_not: string | null;
  warning?: string;
}

/** The result in words. A link or a key that was made is shown this one time. */
export interface ApprovalAnswer {
  says: string;
}

/** Changes that wait for a second person. */
export interface Approvals {
  approvals: ChangeAsked[];
}

/** Approve a draft that others wrote. */
export interface ApproveDraft {
  etag: string;
  file?: string;
  reason?: string;
}

/** A draft that was saved: its text, the rule in words, and its hits in the last 30 days with their money. */
export interface AssistantDraft {
  rule: string;
  text: string;
  says: string;
  events: number;
  hits: number;
  money: string;
  why_not: string;
  tries: number;
}

/** A row that does not match, and the reason. */
export interface AuditBreak {
  row: number;
  why: string;
}

/** The result. `breaks` are the first 100 rows that do not match, `rows` those before the first. */
export interface AuditCheck {
  ok: boolean;
  rows: number;
  breaks: AuditBreak[];
}

/** A row of the audit log. */
export interface AuditRow {
  number: number;
  at: string;
  who: string;
  name: string;
  via: string;
  action: string;
  subject: string;
  /** The value before or after, as any JSON; null if there was none. */
  from: unknown;
  /** The value before or after, as any JSON; null if there was none. */
  to: unknown;
  previous: string;
  hash: string;
}

/** A page of the audit log, the newest first. `next` is the cursor of the following page. */
export interface AuditRows {
  rows: AuditRow[];
  next: string | null;
}

/** The draft compared with the project without it: outcomes, rules and money of both, with some changed events. */
export interface BacktestReport {
  draft: string[];
  events: number;
  seconds: number;
  from: string | null;
  to: string | null;
  as_of: string;
  money: string;
  outcomes: ReportCell[];
  immature: number;
  recorded: ReportRecorded;
  balance: ReportBalance;
  costs: ReportCosts;
  learnt_from: ReportLearnt | null;
  remarks: string[];
  rules: ReportRule[];
  rules_gone: Record<string, number>;
  changed: number;
  changed_rows: ReportRow[];
  exploration: ReportExploration[];
  undecided: number;
  unknowable: string;
}

/**
 * A back-test to run: `rules` are files by their names, and `rule` takes the saved draft of that rule. Without
 * `wait` it runs in the background.
 */
export interface BacktestRequest {
  rules?: Record<string, string>;
  policy?: string | null;
  model?: string | null;
  from?: string | null;
  to?: string | null;
  as_of?: string | null;
  /** The saved draft of this rule. */
  rule?: string | null;
  /** false: respond at once with 202 and the URL of the result. */
  wait?: boolean;
}

/**
 * One back-test: its progress, and its report once it is done. `rule` and `etag` say of which rule it is, and of
 * which text of it; `done` and `total` count records that are read.
 */
export interface BacktestRun {
  id: string;
  name: string;
  by: string;
  began_at_ms: number;
  state?: "done" | "failed" | "running" | "waiting";
  rule?: string | null;
  etag?: string | null;
  from?: string | null;
  to?: string | null;
  as_of?: string | null;
  done?: number;
  total?: number;
  why_not?: string | null;
  outcome?: string;
  report?: BacktestReport | null;
}

/** All back-tests of drafts, newest first, without their reports. */
export interface BacktestRuns {
  backtests: BacktestRun[];
}

/** What a changed rule would have touched among all `events` of its type: hits, decisions, and these by outcome. */
export interface BlastRadius {
  rule: string;
  as_of: string;
  since: string;
  events: number;
  touched: TouchedEvents[];
}

/** Progress of the day. `reviews_a_day` is the review capacity of the policy. */
export interface Capacity {
  reviews_a_day: number | null;
  answered_today: number;
  closed_today: number;
  opened_today: number;
  open: CaseTotals;
  closed_an_hour: number;
  opened_an_hour: number;
  clear_at: string | null;
  second_looks: SecondLooks;
}

/** A case; `alerts` is the number of its alerts. */
export interface Case {
  id: number;
  /** Tag of this version. Send it with each action. */
  tag: string;
  entity: string;
  key: string;
  state: "open" | "claimed" | "snoozed" | "escalated" | "closed";
  opened: string;
  due: string;
  /** Seconds until it is due; negative if overdue. */
  left_s: number;
  assignee: Person | null;
  lock_until: string | null;
  snoozed_until: string | null;
  outcome: string | null;
  score: number | null;
  rule: string | null;
  reason: string;
  stake: Money | null;
  customer: "fraud" | "genuine" | "unclear" | null;
  verdict: "fraud" | "genuine" | "unclear" | null;
  closed: string | null;
  closed_by: Person | null;
  second_look: boolean;
  disagreement: boolean;
  first_verdict: "fraud" | "genuine" | "unclear" | null;
  tags: string[];
  checks: CaseCheck[];
  queue: string;
  alerts: number;
}

/** A snoozed case, and the number that undoes the snooze. */
export interface CaseActed {
  case: Case;
  undo: number;
  undo_until: string;
}

/** An alert of a case. */
export interface CaseAlert {
  event: string;
  seq: number;
  time: string;
  due: string;
  outcome: string | null;
  score: number | null;
  rule: string | null;
  rules: string[];
  reason: string;
  amount: Money | null;
  verdict: "fraud" | "genuine" | "unclear" | null;
  decided: string | null;
  label: AlertLabel | null;
  customer: "fraud" | "genuine" | "unclear" | null;
}

/** Assign a case to a user by name, or to nobody. */
export interface CaseAssignment {
  /** The user's name. Empty: nobody. */
  to: string | null;
}

/** An item of the checklist of a case, and whether it is ticked. */
export interface CaseCheck {
  item: string;
  text: string;
  required: boolean;
  done: boolean;
}

/** Tick an item of a case's checklist, or open it again. */
export interface CaseChecked {
  /** The item to tick. */
  item: string;
  /** Open it again. */
  clear?: boolean;
}

/** The claimed case, or null if there is none. */
export interface CaseClaimed {
  case: Case | null;
}

/**
 * A decided case, the list entries changed with it, and the number that undoes all of it. Commands write the
 * labels at once and have no such number.
 */
export interface CaseDecided {
  case: Case;
  lists: ListChange[];
  undo?: number;
  undo_until?: string;
}

/** Why a case is escalated, and the name of the user who decides it; null for anybody else. */
export interface CaseEscalation {
  /** Why it is escalated. */
  text: string;
  /** The user who decides it. [default: anybody else] */
  to?: string | null;
}

/** A case for which an action failed; `changed` says whether another user changed it first. */
export interface CaseFailed {
  id: number;
  detail: string;
  changed: boolean;
}

/** A file of a case. */
export interface CaseFile {
  file: number;
  name: string;
  media_type: string;
  bytes: number;
  sha256: string;
  by: Person;
  at: string;
}

/** A line of a case's history. */
export interface CaseLine {
  at: string;
  by: Person | null;
  what: string;
  words: string;
  /** Further data, by kind of line. */
  more: Record<string, unknown>;
}

/** A page of cases, and the totals of all matching cases. */
export interface CaseList {
  cases: Case[];
  totals: CaseTotals;
  next: string | null;
}

/** An entry of a list to add with the answer, such as a blocked card. */
export interface CaseListEntry {
  list: string;
  value: string;
  /** The reason, kept with the entry. */
  note: string;
  /** When the entry ends. Empty: never. */
  expires_at?: string;
}

/** Run a macro: its note, its tags, and its answer, escalation or snooze in one step. */
export interface CaseMacro {
  /** The macro's name, as in `cases` of shroff.yaml. */
  macro: string;
}

/** Move a case to another queue. */
export interface CaseMove {
  /** A queue of `cases` in shroff.yaml, or default. */
  queue: string;
}

/** A question to a customer about an event of a case. */
export interface CaseQuestion {
  event: string;
  asked: string;
  until: string;
  verdict: string | null;
  answered: string | null;
  trouble: string | null;
  words: string | null;
}

/** A case after a rule was silenced for its key, or the silence ended; `why_not` says why this is not active yet. */
export interface CaseSilenced {
  id: number;
  /** Tag of this version. Send it with each action. */
  tag: string;
  entity: string;
  key: string;
  state: "open" | "claimed" | "snoozed" | "escalated" | "closed";
  opened: string;
  due: string;
  /** Seconds until it is due; negative if overdue. */
  left_s: number;
  assignee: Person | null;
  lock_until: string | null;
  snoozed_until: string | null;
  outcome: string | null;
  score: number | null;
  rule: string | null;
  reason: string;
  stake: Money | null;
  customer: "fraud" | "genuine" | "unclear" | null;
  verdict: "fraud" | "genuine" | "unclear" | null;
  closed: string | null;
  closed_by: Person | null;
  second_look: boolean;
  disagreement: boolean;
  first_verdict: "fraud" | "genuine" | "unclear" | null;
  tags: string[];
  checks: CaseCheck[];
  queue: string;
  alerts: number;
  in_force: boolean;
  why_not: string | null;
}

/** Snooze a case until a time. */
export interface CaseSnooze {
  /** The end of the snooze. */
  until: string;
}

/** A case in some sentences, each number of which is in its record. */
export interface CaseSummary {
  id: number;
  summary: string;
}

/** One of several cases; with a tag, the version that the caller read. */
export interface CaseTag {
  id: number;
  tag?: string;
}

/** Set the tags of a case, open or closed. */
export interface CaseTags {
  /** All of its tags, separated by commas or blanks. Empty: none. */
  tags: string;
}

/** A text: a note, or the reason of an action. */
export interface CaseText {
  /** The note. */
  text: string;
}

/** The number of cases, and the money at stake. */
export interface CaseTotals {
  count: number;
  stake: Money | null;
}

/** The action to undo. */
export interface CaseUndo {
  undo: number;
}

/** Decide a case: it closes at once; labels of its events are written 8 s later unless you undo it. */
export interface CaseVerdict {
  /** fraud, genuine or unclear. */
  verdict: "fraud" | "genuine" | "unclear";
  /** Answer only this event of the case, such as payment/p-1. */
  event?: string;
  /** The reason to record with the labels, and with --block. */
  reason?: string;
  /** Entries of lists to add with the answer. */
  lists?: CaseListEntry[];
  /** Record an amount returned to the customer, such as 12.50. */
  refund?: string;
}

/** A saved filter. */
export interface CaseView {
  name: string;
  /** A filter as in the URL, such as state=open&min_stake=1000. */
  query: string;
  shared: boolean;
  owner: Person | null;
  count: number;
}

/** Saved filters. */
export interface CaseViews {
  views: CaseView[];
}

/** A case with its newest thousand alerts and history entries, notes, files, and questions to the customer. */
export interface CaseWhole {
  id: number;
  /** Tag of this version. Send it with each action. */
  tag: string;
  entity: string;
  key: string;
  state: "open" | "claimed" | "snoozed" | "escalated" | "closed";
  opened: string;
  due: string;
  /** Seconds until it is due; negative if overdue. */
  left_s: number;
  assignee: Person | null;
  lock_until: string | null;
  snoozed_until: string | null;
  outcome: string | null;
  score: number | null;
  rule: string | null;
  reason: string;
  stake: Money | null;
  customer: "fraud" | "genuine" | "unclear" | null;
  verdict: "fraud" | "genuine" | "unclear" | null;
  closed: string | null;
  closed_by: Person | null;
  second_look: boolean;
  disagreement: boolean;
  first_verdict: "fraud" | "genuine" | "unclear" | null;
  tags: string[];
  checks: CaseCheck[];
  queue: string;
  alerts: CaseAlert[];
  alert_count: number;
  refunded: Money | null;
  notes: CaseLine[];
  history: CaseLine[];
  files: CaseFile[];
  questions: CaseQuestion[];
}

/** The results for several cases, and the number that undoes all of them. */
export interface CasesActed {
  cases: Case[];
  failed: CaseFailed[];
  undo: number | null;
  undo_until: string | null;
}

/** Decide, claim or snooze several cases. Cases that cannot be changed are reported; the others are changed. */
export interface CasesAction {
  action: "decide" | "claim" | "snooze";
  cases: CaseTag[];
  verdict?: "fraud" | "genuine" | "unclear" | null;
  reason?: string;
  until?: string;
}

/** Cases in the queue: those that can be worked on now. Snoozed ones are counted apart. */
export interface CasesOpen {
  open: number;
  snoozed: number;
  at_stake: string | null;
  first_due: string | null;
}

/** The updated cases, and those that another user has changed since. */
export interface CasesUndone {
  cases: Case[];
  changed: Case[];
}

/**
 * A change that waits for a second person. `rows` are to be put into a list and `out` to be taken out, as it was
 * at the request; `more` counts those not shown. `ended` is empty, or the reason why it cannot be approved any
 * more: what it was for has changed since.
 */
export interface ChangeAsked {
  at: string;
  by: string;
  ended: string;
  etag: string;
  more: number;
  out: string[];
  rows: Entry[];
  says: string;
  subject: string;
}

/**
 * The nearest value of one feature or field that would give another outcome. `until` is the farthest value of
 * that range; None if it is open-ended.
 */
export interface ChangeLine {
  code: string;
  value: string | number | boolean | null;
  until: string | number | boolean | null;
  now: string | number | boolean | null;
  outcome: string;
  text: string;
}

/** Make the project's files the active version, from the next event on. */
export interface ChangesStep {
  etag: string;
}

/** Their cost, and the curve. The ETag is that of policy.yaml. */
export interface CheapestThresholds {
  model: string;
  event: string;
  review_at: number | null;
  decline_at: number | null;
  expected_cost: string | null;
  expected_cost_low: string | null;
  expected_cost_high: string | null;
  elsewhere: OutOfFoldCost | null;
  elsewhere_why_not: string;
  drawn: string;
  cost_without_score: string | null;
  review_at_interval: [number | null, number | null] | null;
  decline_at_interval: [number | null, number | null] | null;
  best: CostPoint;
  now: CostPoint | null;
  tried: CostPoint | null;
  curve: CostPoint[];
  reviews_a_day: number | null;
  reviews_by_rules: number;
  rules_beyond_people: boolean;
  reviews_busiest_day: number;
  days_over: number;
  days: number;
  events: number;
  frauds: number;
  share: number;
  chosen_on_these_events?: boolean;
  in_force?: boolean;
  why_not?: string | null;
}

/**
 * A rule that closes cases: those of the past that it would have closed, and since its approval its sample.
 * `state` says whether it is approved, stopped or new. `missed` are closed cases that labels call fraud.
 */
export interface CloseRuleFigures {
  name: string;
  state: string;
  since: string | null;
  by: string | null;
  past: KnownCases;
  fraud_money: string;
  may_act: boolean;
  sample: KnownCases;
  closed: number;
  missed: number;
}

/** Rules that close cases, in their order; their past cases are those that opened in the last `days` days. */
export interface CloseRules {
  rules: CloseRuleFigures[];
  days: number;
}

/** One label of an event with conflicting labels. */
export interface ConflictingLabel {
  verdict: string;
  source: string;
  known_at: string;
  in_force: boolean;
}

/** Two thresholds and their results per day. */
export interface CostPoint {
  review_at: number | null;
  decline_at: number | null;
  cost: string | null;
  missed_cost: string | null;
  false_declines_cost: string | null;
  reviews: number;
  reviews_cost: string | null;
  frauds_stopped: number;
}

/** Costs to write beside the thresholds; `missed` is a percentage of what policy.yaml says now. */
export interface Costs {
  missed?: number;
  false_decline?: number | null;
  review?: number | null;
  reviews_a_day?: number | null;
}

/**
 * The counts to compute; days as `2026-03-01`, the last one included. All event types by default. `by` is `day`,
 * `week` (of Monday to Sunday, cut at the ends), `source` or a field, whose values split each day. With `source`
 * only events of that source count. Days are in `zone`, by default the project's.
 */
export interface CountQuestion {
  /** The first day. [default: six days before the last] */
  startDate?: string | null;
  /** The last day, included. [default: that of the newest event] */
  endDate?: string | null;
  /** Event types. [default: all] */
  eventTypes?: string[];
  /** What each row counts: a day, a week, or a day and a source or a value of a field. [default: day] */
  by?: string;
  /** Time zone of the days, as Europe/Berlin. [default: the project's] */
  zone?: string;
  /** Include days without an event. */
  zeros?: boolean;
  /** Only events of this source. */
  source?: string | null;
  /** Only events with this value of a field; can be given several times. */
  where?: Record<string, string>;
}

/**
 * The number of events of a type on a day; a week is shown as its Monday. `value` is that of the field, null if
 * missing.
 */
export interface CountRow {
  day: string;
  type: string;
  count: number;
  value?: string | null;
}

/** Counts by day, type and value, and their total. */
export interface CountRows {
  rows: CountRow[];
  total: number;
}

/** An event type, whether it is decided, and the fields that `by` accepts. */
export interface CountableType {
  type: string;
  decided: boolean;
  fields: string[];
}

/** The event types of the project, and the sources by which events came. */
export interface CountableTypes {
  types: CountableType[];
  sources: string[];
}

/**
 * Customers of the last seven days: `yes` and `no` are their labels, by mail or however they came; `asked_7d`,
 * `no_answer` and `open` count questions by mail. `held` is of all their answers.
 */
export interface CustomerAnswers {
  asked_7d: number;
  yes: number;
  no: number;
  no_answer: number;
  open: number;
  held: HeldAnswers[];
}

/**
 * A decision. `seq` is its sequence number, null if nothing was written. `experiments` are those that decided
 * about it: their names are in `rules` (arm B) or `shadow_rules` (arm A) too, and are no rules. `answered` is
 * the override: the outcome that the sender gave before this decision. `explanation` is present on request. Of a
 * type with `money in` a currency, `original` is its amount as sent, and `amount` what it is in the project's
 * currency by this `rate`. Both are null without a rate, which the `remark` says.
 */
export interface Decision {
  amount?: string | null;
  answered?: string;
  as_of_seq: number;
  currency?: string | null;
  event: string;
  experiments?: ExperimentLine[];
  explanation?: Explanation;
  exploration?: Drawn;
  features: Record<string, string | number | boolean | null>;
  id: string;
  original?: string | null;
  outcome: "approve" | "challenge" | "review" | "decline";
  rate?: string | null;
  reasons: Reason[];
  receipt: string;
  remark?: string | null;
  rules: string[];
  score: number | null;
  seq: number | null;
  shadow_rules: string[];
  versions: Record<string, string>;
}

/** A funnel of funnels.yaml: its user, its steps, and the field that splits it. */
export interface DeclaredFunnel {
  funnel: string;
  user: string;
  steps: string[];
  split: string | null;
}

/** The funnels of funnels.yaml. */
export interface DeclaredFunnels {
  funnels: DeclaredFunnel[];
}

/**
 * What the score's declines are worth, by explored events, each weighted by 1 / its propensity. The precision is
 * the share of frauds among declines, with its 95 % interval; `fraud_money` is that of these frauds.
 */
export interface DeclineValue {
  explored: number;
  precision: number | null;
  low: number | null;
  high: number | null;
  fraud_money: string;
}

/**
 * The result of a change of the active models. `champion` and `before` are the champion's ids after and before
 * the call, empty for none. `failed` are gates that prevent a promotion. `why_not` says why a written change is
 * not active yet. `unused` says that the champion's score changes no decision, with the remedy.
 */
export interface Deployment {
  event: string;
  model: string;
  what: string;
  champion?: string;
  before?: string;
  failed?: GateResult[];
  in_force?: boolean;
  why_not?: string;
  unused?: string;
}

/** A stage of a dispute as it is sent: `due` is the last moment of an answer, `dispute` the provider's id. */
export interface DisputeInput {
  event: string;
  stage: "dispute" | "early_fraud_warning" | "lost" | "represented" | "withdrawn" | "won";
  known_at: string;
  due?: string | null;
  network?: string | null;
  code?: string | null;
  dispute?: string | null;
  reason?: string | null;
  amount?: string | null;
  verdict?: "fraud" | "genuine" | "unclear" | null;
}

/** Disputes: those that can be answered first, the earliest due date first. */
export interface DisputeList {
  disputes: DisputeRow[];
}

/** A page of the `count` disputes that match, of which `late` can be answered and are past their due date. */
export interface DisputePage {
  disputes: DisputeRow[];
  count: number;
  late: number;
  next: string | null;
}

/**
 * A dispute at its latest stage; `verdict` is that of its label. `eligible` says whether it meets Visa's
 * Compelling Evidence 3.0, and `why`.
 */
export interface DisputeRow {
  event: string;
  stage: string;
  due: string | null;
  eligible: boolean;
  why: string;
  known_at: string;
  verdict: string;
  network: string | null;
  code: string | null;
  dispute: string | null;
  amount: string | null;
  /** The evidence pack. */
  pack?: Record<string, unknown>;
  files?: string[];
}

/** Counts of the stages, as of labels, and the disputes that have new ones. */
export interface DisputesImported {
  disputes: DisputeRow[];
  read: number;
  appended: number;
  pending: number;
  duplicates: number;
  quarantined: number;
}

/** A draft's text. */
export interface DraftBody {
  text: string;
}

/** The result of checking a text: errors, warnings, tests, and its form. `more` counts those not listed. */
export interface DraftCheck {
  ok: boolean;
  etag: string;
  mistakes: DraftMistake[];
  elsewhere: string[];
  warnings: DraftMistake[];
  says: string | null;
  tests: DraftTest[];
  more: Record<string, number>;
  text?: string;
  form?: RuleForm | null;
}

/**
 * Hits of a text among the events of the last 30 days of the log, and their amount. Until it is `complete`, it
 * is of the events from `since` on, and the same question counts more of them. Without `as_of` they could not be
 * counted: `why_not` says why.
 */
export interface DraftCount {
  as_of?: string | null;
  since?: string | null;
  complete?: boolean;
  events?: number;
  hits?: number;
  money?: string;
  why_not?: string;
}

/** An error or warning with its position in a text; `instead` is the suggested word, if known. */
export interface DraftMistake {
  line: number;
  column: number;
  length: number;
  message: string;
  hint: string;
  instead: string | null;
}

/** Draft a rule from a sentence, check it, run its tests, count its hits and save it as a draft. */
export interface DraftRule {
  /** What the rule should find. */
  sentence: string;
}

/** The result of one test of a rule. */
export interface DraftTest {
  name: string;
  events: number;
  passed: boolean;
  problem: string | null;
}

/**
 * The result of exploration for a decline by the score: `explored` says whether the event was approved. An
 * approval, with `would_be` approve, has one if it is in the sample that analysts review.
 */
export interface Drawn {
  explored: boolean;
  propensity: number;
  would_be: string;
}

/** A bin in words, and its shares of the reference and of the recent rows, in [0, 1]. */
export interface DriftBin {
  says: string;
  before: number;
  now: number;
}

/** The drift of one item, for metrics. */
export interface DriftFigure {
  name: string;
  psi: number;
  has_moved: boolean;
  missing_now: number;
  unseen: number;
  is_unclear?: boolean;
  missing_before?: number;
  bins?: DriftBin[];
}

/** The last drift check of an event type; `reference` and `recent` describe the periods that it compared. */
export interface DriftLook {
  looked_at: string;
  as_of: string;
  model: string;
  reference_rows: number;
  recent_rows: number;
  limit: number;
  figures: DriftFigure[];
  reference?: string;
  recent?: string;
}

/** A step on a day. Users dropped off by the end of the previous day are either recovered or still out. */
export interface DropOffRow {
  funnel: string;
  day: string;
  step: string;
  dropped_off: number;
  dropped_off_before: number;
  recovered: number;
  still_out: number;
  value?: string | null;
}

/** The rule whose draft was deleted. */
export interface DroppedDraft {
  dropped: string;
}

/** The number of dropped entries. */
export interface DroppedEntries {
  dropped: number;
}

/** The experiment of policy.yaml, and whether all keys get the policy of arm B from now on; with a reason. */
export interface EndExperiment {
  /** Name of the experiment. */
  rule: string;
  /** Why; it is in the audit log. */
  reason?: string;
  /** Use the thresholds and rules of arm B for all keys. */
  promote?: boolean;
}

/** An event of a key. `features` are the features of its entity in that decision. */
export interface EntityEvent {
  event: string;
  features: Record<string, string | number | boolean | null>;
  fields: Record<string, string | number | boolean | null>;
  id: string;
  outcome: string | null;
  rules: string[];
  score: number | null;
  seq: number;
  time: string;
}

/** A key of an entity. */
export interface EntityKey {
  entity: string;
  key: string;
}

/**
 * Keys of an entity, those with the newest events first. All events behind `looked_to` were searched; 0 is all
 * of the log. Continue there with `next`.
 */
export interface EntityKeys {
  entity: string;
  keys: ListedKey[];
  looked_to: number;
  next: string | null;
}

/**
 * The values that a key shares with others at a moment. Each link has the other keys, and of the events with the
 * value the number, the frauds, the money, the first and the last time. `hubs` are values that too many keys
 * share to link any. `members` are the key and those that it is linked to. `ring` counts all that any number of
 * steps reach, the key included, up to 1,000.
 */
export interface EntityLinksAnswer {
  entity: string;
  key: string;
  as_of: string;
  links: KeyLink[];
  hubs: Hub[];
  members: LinkedKey[];
  ring: number;
}

/** A related key: another key of the same entity, the keys that both share, and the number of events. */
export interface EntityNeighbour {
  events: number;
  key: string;
  through: EntityKey[];
}

/**
 * One key of an entity: events, features, flags and neighbors. `left_out` are keys of other entities that link
 * nobody, since more than 20 keys share them.
 */
export interface EntityView {
  entity: string;
  features: Record<string, string | number | boolean | null>;
  features_of: string | null;
  flags: FlagShown[];
  key: string;
  left_out: EntityKey[];
  looked_to: number;
  neighbours: EntityNeighbour[];
  next: string | null;
  timeline: EntityEvent[];
}

/** One line of a list, as written. */
export interface Entry {
  value: string;
  note?: string;
  added_by?: string;
  expires_at?: string;
}

/** The number of decided events without a label, `days` old or older, up to the `days` of the next row. */
export interface EventsWithoutLabel {
  days: number;
  events: number;
}

/**
 * Two random groups of keys: arm B, for which the rule takes effect, and arm A. `saved` is what arm B saves of
 * 1,000 keys for which the rule was true, with its 95 % confidence interval. All events so far are mature, and
 * count, from the day `mature_from` on.
 */
export interface Experiment {
  rule: string;
  arms: ExperimentArm[];
  saved: string;
  low: string;
  high: string;
  mature_from: string;
}

/** Mature events of a group of keys at which the rule was true, and what 1,000 keys cost by the policy. */
export interface ExperimentArm {
  keys: number;
  cost_per_1000: string;
  from: string;
  to: string;
  value?: string | null;
  events: number;
  volume: string;
  approved: number;
  challenged: number;
  reviewed: number;
  declined: number;
  fraud: FraudFigures;
  caught: number;
  missed: number;
  false_declines: number;
  unlabeled_declines: number;
  money_saved: string;
  review_fraud_rate: number | null;
  decline_rate: OutcomeRate | null;
  false_positive_rate: OutcomeRate | null;
  money: ResultMoney;
  mature: boolean;
  estimate: FraudEstimate | null;
  change?: Record<string, number>;
}

/** An experiment of policy.yaml and the arm of this event's key: A, or B, which the experiment changes. */
export interface ExperimentLine {
  name: string;
  arm: string;
}

/** The explanation that `explain` adds to a decision; `model` if one scored the event. */
export interface Explanation {
  features: FeatureLine[];
  rules: RuleLine[];
  model?: ModelPart | null;
  experiments?: ExperimentLine[];
}

/** A user without a second factor. */
export interface FactorlessUser {
  user: UserDocument;
}

/**
 * The features of a key at a point in time. `events` is the number of events and labels of the key up to then, 0
 * for a key that the log never saw. `left_out` names features without a value between events, with the reason.
 */
export interface FactsDocument {
  entity: string;
  key: string;
  as_of: string;
  events: number;
  features: Record<string, string | number | boolean | null>;
  left_out: Record<string, string>;
}

/** One feature of a decision. `key` is None if the event has no key of the entity. */
export interface FeatureLine {
  name: string;
  definition: string;
  entity: string;
  key: string | null;
  value: string | number | boolean | null;
  earlier: Usual | null;
}

/**
 * A feature and its values at the newest decided events. `missing` is a share in [0, 1], None without events.
 * `low`, `median` and `high` are at 5, 50 and 95 % of the values that are there, in words; `bins` count the
 * values in equal steps from `low` to `high`, those beyond at the ends. `frequent` has the most frequent values
 * of a text with their shares.
 */
export interface FeatureProfile {
  name: string;
  words: string;
  expression: string;
  type: string;
  cost: string;
  read_by: string[];
  missing: number | null;
  distinct: number;
  low: string;
  median: string;
  high: string;
  bins: number[];
  frequent: ([string, number])[];
}

/** The features that decisions of a type show, by name; `tried` is the expression that was asked for. */
export interface FeatureProfiles {
  event: string;
  events: number;
  features: FeatureProfile[];
  tried?: FeatureProfile | null;
}

/**
 * A file or setting whose current content is not active. `takes` is `now` for changes that can be applied to a
 * running service, else `restart`; `difference` is a unified diff of the texts, where both are known; of a table
 * the number of rows added, changed and gone, and these rows.
 */
export interface FileChange {
  file: string;
  change: string;
  takes: string;
  difference: string[];
}

/** Changes that are only in files; `etag` identifies them. */
export interface FileChanges {
  changes: FileChange[];
  etag: string;
}

/** One check. `state` is ok, note or wrong; `cure` is the remedy. */
export interface Finding {
  subject: string;
  state: string;
  words: string;
  cure?: string;
}

/** An alert of Prometheus that fires now; null for what it does not say. */
export interface FiringAlert {
  name: string;
  severity: string | null;
  summary: string | null;
  instance: string | null;
  runbook_url: string | null;
  since: string;
}

/** The verdict on a flag. */
export interface FlagJudgement {
  accuracy: "ACCURATE_PREDICTION" | "FALSE_ALARM";
  reason?: string | null;
}

/**
 * A flag with the fields of its event (null once the event has left the log after `keep`). `also` are the other
 * flags of that event: a label is of the event, so it judges them all.
 */
export interface FlagShown {
  accuracy: "PENDING_CONFIRMATION" | "FALSE_ALARM" | "ACCURATE_PREDICTION";
  also: string[];
  created: string;
  entity: string;
  event: string;
  fields: Record<string, string | number | boolean | null> | null;
  id: string;
  key: string;
  reason: string;
  rule: string;
  seq: number;
  time: string;
  updated: string;
}

/** A page of flags, the newest first. */
export interface Flags {
  flags: FlagShown[];
  next: string | null;
}

/** The thresholds with which one fold was evaluated. */
export interface FoldThresholds {
  review_at: number | null;
  decline_at: number | null;
  cost: string | null;
}

/** A draft's text, and a form whose values replace those of the text. */
export interface FormBody {
  text: string;
  form?: RuleForm | null;
}

/** A condition. Without a comparison the operand is an expression shown as text. */
export interface FormRow {
  operand: string;
  comparison?: string;
  value?: string;
}

/** The 90 % interval of the fraud money of a row once all of it is known. */
export interface FraudEstimate {
  low: string;
  high: string;
}

/** Known fraud: events, their money, and that money in basis points of the volume (null without volume). */
export interface FraudFigures {
  count: number;
  money: string;
  basis_points: number | null;
}

/**
 * The funnel, all by default, and the days: `2026-03-01`, the last one included; by default the three days up to
 * yesterday. `split` is a field; by default that of the funnel, and none if empty. `zone` is by default the
 * project's.
 */
export interface FunnelDays {
  /** The funnel. */
  funnel?: string | null;
  /** The first day. [default: two days before the last] */
  startDate?: string | null;
  /** The last day, included. [default: yesterday] */
  endDate?: string | null;
  /** Time zone of the days, as Europe/Berlin. [default: the project's] */
  zone?: string;
  /** Split all numbers by a field. [default: `split` of the funnel] */
  split?: string | null;
}

/**
 * Funnels over some days: drop-off and recovery by day, users by step, and the same by day of the first step.
 * `dropped_off` of a row counts from the first day to the end of its day.
 */
export interface FunnelDocument {
  first: string;
  last: string;
  zone: string;
  rows: DropOffRow[];
  steps: StepRow[];
  trend: TrendRow[];
}

/**
 * The users to list: `number` is such as `still_out:signed_up`, `day` the last one by default. `after` is `next`
 * of the previous page.
 */
export interface FunnelUsers {
  funnel: string;
  number: string;
  day?: string | null;
  startDate?: string | null;
  endDate?: string | null;
  zone?: string;
  limit?: number;
  after?: string;
}

/** The result of a gate: the value, its limit in words, and whether it passed. `note` describes the comparison. */
export interface GateResult {
  name: string;
  value: number | null;
  limit: string;
  passed: boolean;
  note?: string;
}

/** A guard with its newest finding: watching, waiting for labels, blind without any, stopped, or off. */
export interface GuardState {
  name: string;
  guard: string;
  state: string;
  since: string;
  why: string;
}

/** All guards that were ever looked at. */
export interface GuardStates {
  guards: GuardState[];
}

/** Findings of `doctor`, the sinks, the last drift check of each event type, and alerts that Alertmanager posted. */
export interface Health {
  alerts: FiringAlert[];
  at: string;
  drift: Record<string, DriftLook>;
  findings: Finding[];
  ok: boolean;
  ready: boolean;
  sinks: SinkHealth[];
  state: string;
}

/** Customers' answers with one verdict that a stronger source judged later, and how many of them it confirmed. */
export interface HeldAnswers {
  verdict: string;
  judged: number;
  held: number;
}

/** The typical range of a rule's hits per hour. */
export interface HitRange {
  low: number;
  high: number;
}

/** A value that more keys share than its cap allows: it links none of them. */
export interface Hub {
  via: string;
  value: string | number | boolean | null;
  keys: number;
}

/** Import stages of disputes, each as a label of the source 'chargeback'. */
export interface ImportDisputes {
  /** Stages of disputes. */
  disputes?: DisputeInput[];
}

/** The contribution of one input, where several use the same feature or field. */
export interface InputPart {
  input: string;
  contribution: number;
}

/**
 * A job: its progress, its log, and its result once it is done. `step` is the current step, `done` of `total`;
 * both are 0 if unknown. `due_at_ms` is a schedule's due time, even if the job ran later.
 */
export interface JobDocument {
  id: string;
  url: string;
  kind: string;
  /** The parameters that `GET /api/v1/jobs/kinds` lists for this kind. */
  params: Record<string, unknown>;
  by: string | null;
  schedule: string | null;
  state: "queued" | "running" | "done" | "failed" | "cancelled" | "interrupted" | "skipped";
  attempt: number;
  due_at_ms: number;
  begun_at_ms: number | null;
  ended_at_ms: number | null;
  step: string | null;
  done: number;
  total: number;
  log: string[];
  result: Record<string, unknown> | null;
  why: string | null;
}

/** A kind of job: its purpose, and the schema of its parameters. */
export interface JobKindDocument {
  kind: string;
  meaning: string;
  /** The JSON Schema of its parameters. */
  params: Record<string, unknown>;
}

/** The kinds of jobs, each with the JSON Schema of its parameters. */
export interface JobKinds {
  kinds: JobKindDocument[];
}

/** Jobs, newest first, without logs and results; `next` is `before` of the next request if there may be more. */
export interface JobList {
  jobs: JobDocument[];
  next: string | null;
}

/** A mail of the built-in mailbox; a list leaves its texts out. */
export interface KeptMail {
  name: string;
  subject: string;
  from: string;
  to: string;
  at: string;
  text?: string;
  html?: string;
}

/**
 * The key and the time; by default all features of the entity at the time of the newest event. Times are as
 * `2026-03-01T12:00:00Z`, or a day. `since` is a time for all features, or one for each by its name.
 */
export interface KeyAtMoment {
  /** The entity. */
  entity: string;
  /** The key as text; of several parts as a JSON list. */
  key: string;
  /** A time or a day. [default: that of --seq or --known-at, else of the newest event] */
  as_of?: string | null;
  /** Use only what the log had before this sequence number, as its decision did. */
  seq?: number | null;
  /** Use only what had arrived by this time. */
  known_at?: string | null;
  /** Only these features. [default: all of the entity] */
  features?: string[];
  /** Ignore earlier events, for all features or for one. May be repeated. */
  since?: string | Record<string, string> | null;
}

/** An API key, without its secret text. */
export interface KeyDocument {
  id: string;
  name: string;
  role: string;
  scopes: string[];
  made_at: string;
  made_by: string;
  expires_at: string | null;
  revoked_at: string | null;
  used_at: string | null;
}

/**
 * A value that a key shares: the other keys that have it, and what is known of the events with it. `step` is 1
 * where the key has the value itself, else how many values lie between, this one included.
 */
export interface KeyLink {
  via: string;
  value: string | number | boolean | null;
  keys: string[];
  frauds: number;
  spent: string | null;
  events: number;
  first: string;
  last: string;
  step: number;
}

/** Keys without their text, revoked ones included. */
export interface Keys {
  keys: KeyDocument[];
}

/**
 * Cases of a rule: how many, how many of them people or labels call fraud or genuine, and how many fraud.
 * `share` is that of fraud among the known ones.
 */
export interface KnownCases {
  cases?: number;
  known?: number;
  frauds?: number;
  share?: OutcomeRate | null;
}

/** A label to record. */
export interface Label {
  /** A decimal, preferably as a string; or an object with the currency, which must be the project's. */
  amount?: string | number | Record<string, unknown> | null;
  /** The event, such as payment/p-1; or instead a field declared unique. */
  event?: string;
  /** RFC 3339, or Unix time in whole milliseconds. */
  known_at: string | number;
  reason?: string | null;
  source?: string | null;
  verdict: "fraud" | "genuine" | "unclear";
}

/** An event with conflicting labels. */
export interface LabelConflict {
  event: string;
  id: string;
  kind: string;
  labels: ConflictingLabel[];
}

/** The current label of an event. */
export interface LabelInForce {
  source: string;
  verdict: string;
}

/** Label delay: the time until frauds become known. */
export interface LabelMaturity {
  frauds: number;
  too_young: number;
  later: number;
  curve: MaturityPoint[];
}

/** The result of recording a label. */
export interface Labelled {
  in_force?: LabelInForce;
  label: string;
  seq: number | null;
  state: "appended" | "pending" | "duplicate";
}

/** The number of labels of a source, by verdict. */
export interface LabelsOfSource {
  source: string;
  verdicts: Record<string, number>;
  newest: string | null;
}

/** Statistics of all labels of the log, from `counted_from` to `counted_to`. */
export interface LabelsTogether {
  counted_from: number;
  counted_to: number;
  events: number;
  in_force: Record<string, number>;
  came: LabelsOfSource[];
  conflicts: number;
  newest_conflicts: LabelConflict[];
  maturity: LabelMaturity;
  waiting: number;
  without_label: EventsWithoutLabel[];
  customers: CustomerAnswers;
}

/** The answer about a law: proved, refuted or unknown. `events` end with the one that breaks it. */
export interface LawProved {
  id: string;
  sentence: string;
  required: boolean;
  answer: string;
  reason: string;
  events: RuleTestEvent[];
}

/** The answers about laws, in the order of the files. */
export interface LawsProved {
  laws: LawProved[];
}

/** A page of letters, the number of pending notices, and what blocks all sending. */
export interface LetterPage {
  waiting: number;
  trouble: string | null;
  next: string | null;
  letters: LetterShown[];
}

/** A message in the outbox, with its recipient masked as needed. */
export interface LetterShown {
  id: string;
  notice: string;
  rule: string | null;
  to: string;
  state: string;
  attempts: number;
  made: string;
  due: string | null;
  done: string | null;
  reason: string | null;
}

/** Make a link for the customer to a page with the reasons of a decision, where they can say that it is wrong. */
export interface LinkReasons {
  /** Its event, as payment/p-1. */
  event: string;
}

/** A key that is linked, over so many steps; its events in the window, and the outcome of the newest decision. */
export interface LinkedKey {
  key: string;
  step: number;
  events: number;
  frauds: number;
  spent: string | null;
  outcome: string;
}

/** Approve, as the second person, a requested change of a list. */
export interface ListApproval {
  etag: string;
}

/**
 * Result of a list change: numbers of entries, and whether the next event is decided by it. `why_not` says what
 * that waits for. `what` is ADDED, CHANGED, REMOVED or SAME; `value` is the value that one entry stands for,
 * hashed where the list is compared with a hashed field. `others` are files that were changed before and became
 * active with it. `expired` is the end of a new entry where that is over. `repeated` counts sent lines that a
 * later line of the same value replaced.
 */
export interface ListChange {
  list: string;
  added: number;
  changed: number;
  removed: number;
  in_force: boolean;
  why_not: string | null;
  what: string;
  value?: string;
  entries?: number;
  others?: string[];
  expired?: string;
  repeated?: number;
}

/** The entries of a list, in the order of its file, and its changes that wait for a second person. */
export interface ListEntries {
  name: string;
  etag: string;
  entries: Entry[];
  asked: ChangeAsked[];
}

/** Entries as CSV. With `is_whole`, all other entries of the list are removed. */
export interface ListSheet {
  /** CSV with a first line of column names; value is required. */
  csv: string;
  /** Remove all other entries of the list. */
  is_whole?: boolean;
}

/** A list in an overview: its number of entries, and the features and rules that read it. */
export interface ListSummary {
  name: string;
  entries: number;
  read_by: string[];
}

/** A key with its newest event. `flagged` has the newest events at which rules flagged it, at most 20. */
export interface ListedKey {
  key: string;
  name: string;
  event: string;
  time: string;
  about: string;
  outcome: string | null;
  score: number | null;
  rules: string[];
  flagged: string[];
}

/**
 * A model of the registry with its role: champion, challenger, shadow, before, or none. `redefined` names the
 * inputs of one that scores which mean something else now than when it was trained; `unused` says of a champion
 * that its score changes no decision, with the cure. `unwaived` are the failed gates, by name, that no promotion
 * waived.
 */
export interface ListedModel {
  id: string;
  digest?: string;
  event?: string;
  learner?: string;
  made_at?: string;
  failed?: string[];
  problem?: string;
  is_judged?: boolean;
  damaged?: string[];
  role?: string;
  redefined?: string[];
  unused?: string;
  unwaived?: string[];
}

/** All lists, with the rules and features that read each. */
export interface Lists {
  lists: ListSummary[];
}

/** Live figures of a period; `cases` for those who may read cases. */
export interface Live {
  period: string;
  from: string;
  to: string;
  counted_from: number;
  is_whole: boolean;
  came: number;
  decided: number;
  by_outcome: Record<string, OutcomeCount>;
  verdicts: Record<string, number>;
  steps: LiveStep[];
  rules: RuleHitCount[];
  answer_ms: Record<string, number | null>;
  answer_ms_ever: Record<string, number | null>;
  events_per_second: number;
  waiting: number;
  waiting_age_s: number;
  quarantined: number;
  labels_waiting: number;
  outbox: number;
  outbox_stuck: number;
  outbox_failing: string[];
  cases?: CasesOpen;
}

/** A step of the period. */
export interface LiveStep {
  from: string;
  decided: number;
  not_approved: number;
}

/** The process responds. */
export interface Liveness {
  live: boolean;
}

/** All tables of the project. */
export interface LookUpTables {
  tables: TableSummary[];
}

/** A version of a table in the log; `by` applied the files, and is empty where the next event took them up. */
export interface LookUpVersion {
  seq: number;
  at: string;
  by: string;
}

/** Subject, plain text and HTML. */
export interface MailPreview {
  subject: string;
  text: string;
  html: string;
}

/** The newest mails of the built-in mailbox, without their texts. */
export interface Mailbox {
  mails: KeptMail[];
}

/** The share of frauds known after a number of days. */
export interface MaturityPoint {
  days: number;
  share: number;
  by_source: Record<string, number>;
}

/**
 * Fraud among approvals by the sample of them, reported or not. Of `sampled` approvals `reviewed` have an
 * answer. The rate is the share of frauds among all approvals, with its 95 % confidence interval; null before
 * the first answer. `fraud_money` is that of these frauds. `uncovered` approvals of the sample are in groups of
 * one probability without any answer: rate and money leave the events of these out.
 */
export interface MissedFraudRate {
  sampled: number;
  reviewed: number;
  uncovered: number;
  frauds: number;
  rate: number | null;
  low: number | null;
  high: number | null;
  fraud_money: string;
}

/** An error: for input its path and `detail`; for the project's files the position, a message and a hint. */
export interface Mistake {
  column?: number;
  detail?: string;
  file?: string;
  hint?: string;
  line?: number;
  message?: string;
  path: string;
}

/** One model with all its details. */
export interface Model {
  id: string;
  event: string;
  role: string;
  digest: string;
  gates: GateResult[];
  /** `metrics.json`, see the reference of metrics. Slices have `words`. */
  metrics: Record<string, unknown>;
  promotions: PromotionRecord[];
  /** `manifest.json`: how the model was made. */
  manifest: Record<string, unknown>;
  files: string[];
  damaged: Record<string, string>;
  redefined: string[];
}

/**
 * A change of a model: `promote`, `shadow`, `unshadow` or `rollback`, and the reason. `waive` lists gates to
 * waive, each by metric and limit. With `champion`, empty for none, a model is promoted only if that is still
 * the champion.
 */
export interface ModelChange {
  do: string;
  reason: string;
  waive?: string[];
  champion?: string | null;
}

/**
 * The model's part of the decision, and the changes that would give another outcome. `base` is the mean margin;
 * it and the contributions sum to `margin`, within 1e-5 of the sum of their sizes plus half a millionth for
 * each. If `problem` is set, only the score is available; the numbers are None. `gives` is the scale: log-odds,
 * or for a forest a probability before calibration.
 */
export interface ModelPart {
  model: string;
  score: number | null;
  margin: number | null;
  base: number | null;
  policy: PolicyLine;
  changes: ChangeLine[];
  note: string;
  problem: string;
  gives?: string;
}

/** The models of the registry with their current state, newest first. */
export interface Models {
  models: ListedModel[];
}

/** An amount with its currency. */
export interface Money {
  amount: string;
  currency: string;
}

/** A name that an expression can use. */
export interface Name {
  name: string;
  type: string;
  says: string;
}

/** Each name with its meaning. */
export interface Names {
  names: Name[];
  keys: RuleKey[];
  effects: string[];
}

/**
 * The new thresholds, null for none, the reason, and other costs to save in the same change. They are written
 * where policy.yaml still has the text that `tag` stands for.
 */
export interface NewCutoffs {
  reason: string;
  review_at?: number | null;
  decline_at?: number | null;
  costs?: Costs | null;
}

/**
 * A kind of job and its parameters, as listed by `GET /api/v1/jobs/kinds`. `timeout_s` is the time limit of a
 * run.
 */
export interface NewJob {
  kind: string;
  params?: Record<string, unknown>;
  timeout_s?: number;
  retries?: number;
}

/** Create an API key and show it, this one time. It has at most the rights of its creator. */
export interface NewKey {
  /** The name: what the key is for. */
  name: string;
  /** The role: admin, analyst, author, viewer or service. */
  role: string;
  /** Expire after this time, as in 90d. [default: never] */
  expires?: string;
  /** Only this right of the role; may be repeated. */
  scopes?: string[];
}

/** The key with its secret text, which is shown only once. */
export interface NewKeyAnswer {
  id: string;
  name: string;
  role: string;
  scopes: string[];
  made_at: string;
  made_by: string;
  expires_at: string | null;
  revoked_at: string | null;
  used_at: string | null;
  key: string;
}

/** A new entry; its author is the caller. */
export interface NewListEntry {
  /** The value. */
  value: string;
  /** The reason, as free text. */
  note?: string;
  /** Expiry: applies to events before this. [default: never] */
  expires_at?: string;
}

/** Replace the text of a rule file: it is checked with its tests, written, and made active. */
export interface NewRuleFile {
  text: string;
}

/** Add a user. Without a password, the output has a one-time link to set one, valid for three days. */
export interface NewUser {
  /** The user's name. */
  name: string;
  /** The user's role: admin, analyst, author, viewer or member. */
  role: string;
  /** The display name. [default: the name] */
  display_name?: string;
  /** The mail address. */
  email?: string;
}

/** The user, and a one-time link to set the password, valid for three days; null if a password was given. */
export interface NewUserAnswer {
  user: UserDocument;
  link: string | null;
  url: string | null;
}

/** A notice, without secrets and recipients' addresses. */
export interface NoticeShown {
  name: string;
  on: string;
  event: string | null;
  channel: string;
  to: string | null;
  asks: boolean;
  digest_s: number | null;
  has_quiet_hours: boolean;
  verbose: boolean;
}

/** Send the mail of a notice to an address, marked as a test. Exit status 1 if it is refused. */
export interface NoticeTest {
  /** The recipient of the mail. */
  to: string;
  /** The event of the mail, as payment/p-1. [default: the newest] */
  event?: string;
  /** The day of a report, as 2026-03-01. [default: the last that was due] */
  day?: string;
}

/** The notices of the project. */
export interface Notices {
  notices: NoticeShown[];
}

/** The out-of-fold estimate: the cost of such thresholds on events that were not used to choose them. */
export interface OutOfFoldCost {
  cost: string | null;
  low: string | null;
  high: string | null;
  reviews: number;
  frauds_stopped: number;
  folds: FoldThresholds[];
}

/** The number of decisions with one outcome. */
export interface OutcomeCount {
  count: number;
  money: string | null;
}

/** A share of events with its 95 % confidence interval (Wilson). */
export interface OutcomeRate {
  share: number;
  low: number;
  high: number;
}

/** A user by id and name. */
export interface Person {
  id: string;
  name: string;
}

/** The policy step: rules and score to outcome; thresholds are None if policy.yaml has none. */
export interface PolicyLine {
  review_at: number | null;
  decline_at: number | null;
  by_rules: string;
  by_score: string;
  text: string;
}

/** One alert of a webhook of Alertmanager; fields that are not used here are ignored. */
export interface PostedAlert {
  status: "firing" | "resolved";
  fingerprint: string;
  startsAt: string;
  labels: Record<string, string>;
  annotations?: Record<string, string>;
}

/** A webhook of Alertmanager, format version 4. */
export interface PostedAlerts {
  alerts: PostedAlert[];
}

/**
 * A problem document (RFC 9457). `type` is stable, for programs. `ready` and `state` come from a service that
 * accepts no events. `by`, `at`, `state`, `verdict`, `tag` and `saved` describe a case that another user changed
 * first. `instance` refers to a failure in the service's own log; `url` to a conflicting job.
 */
export interface Problem {
  at?: string | null;
  by?: string | null;
  detail: string;
  errors?: Mistake[];
  instance?: string;
  ready?: boolean;
  saved?: boolean;
  state?: string;
  status: number;
  tag?: string;
  title: string;
  type: string;
  url?: string;
  verdict?: string | null;
}

/** A promotion to champion: when, by whom, and the waived gates. */
export interface PromotionRecord {
  id: string;
  digest: string;
  at?: string;
  by?: string;
  waived?: Waiver[];
}

/**
 * A refused input. `place` is its line, `row` its number among the lines of data. `fixed_by` is the event that
 * was accepted after the input was corrected and sent again, such as payment/p-1; of a label the event that got
 * it. `raw` is null if it may contain personal data that the caller may not see, and `raw_base64` has bytes that
 * are no text.
 */
export interface QuarantineEntry {
  number: number;
  source: string;
  place: string;
  row: number | null;
  type: string;
  reason: string;
  at: string;
  fixed_by?: string | null;
  raw?: string | null;
  raw_base64?: string;
}

/** Entries by their numbers; a request over HTTP names at least one. */
export interface QuarantineNumbers {
  /** Entries by their numbers. */
  numbers: number[];
}

/** Each entry with its reason. Its bytes are included unless they may contain personal data. */
export interface QuarantinePage {
  entries: QuarantineEntry[];
  next: string | null;
}

/** A question to a customer, and the answer: nothing of its link, and not who was asked. */
export interface QuestionShown {
  notice: string;
  event: string;
  asked: string;
  until: string;
  answer: string | null;
  answered: string | null;
  released: boolean;
}

/** The questions about one decision, oldest first. */
export interface Questions {
  questions: QuestionShown[];
}

/** Readiness: the state of the service, and if it accepts events. */
export interface Readiness {
  ready: boolean;
  state: string;
}

/** A reason of a decision. `code` is stable: a rule's id or a feature's name. */
export interface Reason {
  code: string;
  contribution?: number;
  effect?: string;
  inputs?: InputPart[];
  kind: "rule" | "model";
  text: string;
}

/** The link, and until when it shows the reasons. */
export interface ReasonsLink {
  link: string;
  until: string;
}

/** The removed user. */
export interface RemovedUser {
  user: UserDocument;
}

/** The name of the removed filter. */
export interface RemovedView {
  removed: string;
}

/** A decision computed again; if it differs, both versions. */
export interface Replay {
  match: boolean;
  receipt: string;
  event: string;
  id: string;
  recorded?: string;
  computed?: string;
}

/**
 * Both sides, and the value of their difference with its 95 % confidence interval `low` to `high`. `net` is
 * null, and there are no weeks, where no event has a label; `mature` events are older than the label delay.
 */
export interface ReportBalance {
  old: ReportSide;
  new: ReportSide;
  net: string | null;
  low: string | null;
  high: string | null;
  days: number;
  events: number;
  mature: number;
  labelled: number;
  weeks: ReportWeek[];
}

/** Events of one type with the same outcomes and label: their number and amount. */
export interface ReportCell {
  event: string;
  old: string;
  new: string;
  label: string;
  immature: boolean;
  count: number;
  money: string;
}

/** Costs in policy.yaml: of a review and a false decline, null where event types differ; whether it names any. */
export interface ReportCosts {
  review: string | null;
  false_decline: string | null;
  named: boolean;
}

/**
 * Exploration of one event type; numbers of the events that these stand for are estimates. `immature` are
 * younger than the label delay, `reviewed` a person was to look at first; `cost` is what those cost that are
 * known as frauds so far and were not reviewed.
 */
export interface ReportExploration {
  event: string;
  explored: number;
  immature: number;
  unclear: number;
  reviewed: number;
  known: number;
  frauds: number;
  precision: number | null;
  low: number | null;
  high: number | null;
  declines: number;
  frauds_declined: number;
  cost: string;
}

/** Hits of a rule, and those older than the label delay by label, with their precision (95 % interval). */
export interface ReportHits {
  hits: number;
  older_fraud: number;
  older_genuine: number;
  older_unclear: number;
  older_none: number;
  immature: number;
  precision: number | null;
  precision_low: number | null;
  precision_high: number | null;
  money: string;
  older_fraud_money: string;
}

/**
 * Events before `until`, the end of the training data of the draft's models; `behind` are later. Of the
 * `events`, the models were trained on some: on `rows`, where all of their training data is in the backtest.
 */
export interface ReportLearnt {
  models: string[];
  not_told: string[];
  until: string | null;
  rows: number;
  events: number;
  behind: number;
  balance: ReportBalance;
}

/** Recorded decisions that differ from those of the project without the draft: their number, and what changed. */
export interface ReportRecorded {
  differ: number;
  because: string[];
}

/** An event whose outcome changes. */
export interface ReportRow {
  event: string;
  id: string;
  seq: number;
  time: string;
  old: string;
  new: string;
  label: string;
  immature: boolean;
  money: string;
  old_rules: string[];
  rules: string[];
}

/** A rule of the draft: its hits, hits of this rule alone, and `old` hits without the draft. */
export interface ReportRule {
  hits: number;
  older_fraud: number;
  older_genuine: number;
  older_unclear: number;
  older_none: number;
  immature: number;
  precision: number | null;
  precision_low: number | null;
  precision_high: number | null;
  money: string;
  older_fraud_money: string;
  id: string;
  on: string;
  effect: string;
  shadow: boolean;
  kept: boolean;
  effective: number;
  only: ReportHits;
  overlap: Record<string, number>;
  old: ReportHits;
}

/**
 * Outcomes of mature events, without the draft or with it. A presumed false decline is a declined event that is
 * not labeled fraud or unclear, so also one without a label.
 */
export interface ReportSide {
  frauds_stopped: number;
  fraud_money_stopped: string;
  reviews: number;
  presumed_false_declines: number;
}

/** The value of a draft in a week, from Monday or the first day on, and how many mature events that has. */
export interface ReportWeek {
  day: string;
  net: string;
  events: number;
}

/** The money of the events that the counts of the same names count. */
export interface ResultMoney {
  approved: string;
  challenged: string;
  reviewed: string;
  declined: string;
  caught: string;
  missed: string;
  false_declines: string;
}

/**
 * A period, or in all of it a rule, shadow hits included, or a value of the field (null where it is missing).
 * Caught frauds are those that were not approved, missed ones those that were; false declines are declined
 * events labeled genuine, null if no declined event has a label; `unlabeled_declines` are those without a label.
 * `money_saved` is the money of caught frauds. The fraud rate of reviews is the share of frauds among reviewed
 * events with a label; null without one. It is no precision of rules, of which events without a label count as
 * genuine once they are mature. The decline rate is that of all events. The false positive rate is the share of
 * events without a fraud label that were reviewed or declined, by rules or the score; null by rule. A row is
 * mature when its events are older than the label delay and 99 % of frauds are known at that age. The estimate
 * is null if too few frauds are known. `change` is that of figures since the days before, as many as these: 0.1
 * is a tenth more. It is empty where the log has not all of those days or the last day is still to come, and
 * leaves out figures that were 0 or unknown. A day, week or month that is over is compared with the row above it
 * if that is as long.
 */
export interface ResultRow {
  from: string;
  to: string;
  value?: string | null;
  events: number;
  volume: string;
  approved: number;
  challenged: number;
  reviewed: number;
  declined: number;
  fraud: FraudFigures;
  caught: number;
  missed: number;
  false_declines: number;
  unlabeled_declines: number;
  money_saved: string;
  review_fraud_rate: number | null;
  decline_rate: OutcomeRate | null;
  false_positive_rate: OutcomeRate | null;
  money: ResultMoney;
  mature: boolean;
  estimate: FraudEstimate | null;
  change?: Record<string, number>;
}

/**
 * What fraud cost and what decisions did, with the total of all events; those of several rules count once.
 * `before` is the total of as many days directly before these, null where there is no change. `review_hours` is
 * the time from claim to decision of cases that were decided in these days, each at most as long as a claim
 * locks it. `declines` is null where nothing was explored, `missed_fraud` where no approval was sampled;
 * `programmes` has the ratios of card schemes in the month of the last day, by month in each; the nearest to its
 * limit is first. `oldest` is the day of the oldest event where that lies before the days of the answer and no
 * first day was asked for, else null.
 */
export interface Results {
  as_of: string | null;
  by: string;
  zone: string;
  currency: string;
  rows: ResultRow[];
  total: ResultRow | null;
  before?: ResultRow | null;
  review_hours?: number;
  declines?: DeclineValue | null;
  missed_fraud?: MissedFraudRate | null;
  programmes?: SchemeRatio[];
  oldest?: string | null;
}

/** The result for each entry. */
export interface RetriedEntries {
  read: number;
  taken: number;
  quarantined: number;
  entries: RetriedEntry[];
}

/** The result of one retried entry; `reason` says why it stays. */
export interface RetriedEntry {
  number: number;
  source: string;
  place: string;
  outcome: string;
  reason: string;
}

/** The revoked key, and the names of keys that were made with it and are not revoked. */
export interface RevokedKey {
  id: string;
  name: string;
  role: string;
  scopes: string[];
  made_at: string;
  made_by: string;
  expires_at: string | null;
  revoked_at: string | null;
  used_at: string | null;
  made: string[];
}

/**
 * Statistics of a rule over the newest part of the log. `fraud` and `fraud_money` are of all hits labeled fraud;
 * `older_*` are hits past the label delay, by label. The precision is the share of frauds among older hits that
 * are not unclear; those without a label count as genuine. It is null without such hits, and if no event of that
 * type has a label.
 */
export interface RuleCounts {
  hits: number;
  in_shadow: number;
  fraud: number;
  older_fraud: number;
  older_genuine: number;
  older_unclear: number;
  older_none: number;
  immature: number;
  precision: number | null;
  precision_low: number | null;
  precision_high: number | null;
  money: string;
  fraud_money: string;
}

/** A draft of a rule. */
export interface RuleDraft {
  rule: string;
  etag: string;
  authors: string[];
  saved_at: string;
  approved_by: string | null;
}

/** A draft with its text, errors and warnings. */
export interface RuleDraftChecked {
  rule: string;
  etag: string;
  authors: string[];
  saved_at: string;
  approved_by: string | null;
  text: string;
  check: DraftCheck;
}

/** A draft with its text. */
export interface RuleDraftText {
  rule: string;
  etag: string;
  authors: string[];
  saved_at: string;
  approved_by: string | null;
  text: string;
}

/** All drafts, without their texts. */
export interface RuleDrafts {
  drafts: RuleDraft[];
}

/** A file of rules. */
export interface RuleFileShown {
  file: string;
  etag: string;
  rules: RuleOfFile[];
}

/** A file of rules with its text. */
export interface RuleFileText {
  file: string;
  etag: string;
  rules: RuleOfFile[];
  text: string;
}

/** The written rule file; `in_force` says whether it is active in the log yet. */
export interface RuleFileWritten {
  file: string;
  etag: string;
  rules: RuleOfFile[];
  in_force: boolean;
  why_not: string | null;
}

/** All files of rules. */
export interface RuleFiles {
  files: RuleFileShown[];
}

/**
 * A rule as a form. Args: keys: Values of KEYS; empty for keys that the rule lacks. joined: `and` or `or`
 * between the groups; the other word joins the rows of a group. groups: Rows by group; most groups have one.
 * tests: Tests; None leaves them unchanged, as for a rule in braces.
 */
export interface RuleForm {
  keys: Record<string, string>;
  joined: string;
  groups: FormRow[][];
  tests?: RuleTestForm[] | null;
}

/** An event that a rule hit. `shadow` says whether the rule was in shadow then. */
export interface RuleHit {
  event: string;
  id: string;
  seq: number;
  time: string;
  money: string | null;
  shadow: boolean;
  verdict: string | null;
  immature: boolean;
}

/** Statistics of a rule over the last hour. */
export interface RuleHitCount {
  rule: string;
  hits_1h: number;
  shadow: boolean;
  usual_1h: HitRange | null;
  is_spike: boolean;
}

/** A page of hits, the newest first. */
export interface RuleHits {
  hits: RuleHit[];
  next: string | null;
}

/** A key of a rule file. */
export interface RuleKey {
  name: string;
  says: string;
}

/** One rule that checked the event. `result`: hit, hit in shadow, or no hit; `condition`: as it is written. */
export interface RuleLine {
  id: string;
  effect: string;
  result: string;
  text: string;
  condition: string;
}

/** A rule and its statistics; `older_*` count hits past the label delay, by label. */
export interface RuleOfFile {
  by: string;
  effect: string;
  fraud: number;
  hits: number;
  id: string;
  notify: string | null;
  older_fraud: number;
  older_genuine: number;
  older_none: number;
  on: string;
  precision: number | null;
  precision_high: number | null;
  precision_low: number | null;
  rollout: number;
  shadow: boolean;
  tests: number;
}

/** Restore a rule's version from a sequence number of the log; 0 removes the rule. */
export interface RuleReturn {
  seq: number;
  reason: string;
}

/** One rule and its statistics. */
export interface RuleState {
  id: string;
  state: string;
  file: string | null;
  effect: string | null;
  in_force: boolean;
  trial: string | null;
  draft: string | null;
  changed_at: string | null;
  record: RuleCounts;
}

/** All rules with their statistics since a time; removed ones come last. */
export interface RuleStates {
  since: string | null;
  rules: RuleState[];
}

/**
 * An event of a test. Args: values: Text of each field; `at` is the time. hits: `true`, `false` or the row of a
 * table that hits; empty for an event of another type than the rule's.
 */
export interface RuleTestEvent {
  type: string;
  values: Record<string, string>;
  hits?: string;
}

/** A test of a rule; without events it can only be edited as text. */
export interface RuleTestForm {
  name: string;
  events: RuleTestEvent[];
}

/** The text of a rule from a sequence number of the log on; null if it was removed. */
export interface RuleVersion {
  seq: number;
  time: string;
  file: string;
  text: string | null;
  by: string | null;
  reason: string | null;
}

/** All versions of a rule, newest first; the text is null if the rule was removed. */
export interface RuleVersions {
  versions: RuleVersion[];
}

/** One rule with its text, and its changes that wait for a second person. */
export interface RuleWhole {
  id: string;
  state: string;
  file: string | null;
  effect: string | null;
  in_force: boolean;
  trial: string | null;
  draft: string | null;
  changed_at: string | null;
  record: RuleCounts;
  text: string;
  says: string | null;
  asked: ChangeAsked[];
}

/** A schedule of schedules.yaml: when it is due next, and its last job. */
export interface ScheduleDocument {
  schedule: string;
  kind: string;
  cron: string;
  zone: string;
  /** The parameters that `GET /api/v1/jobs/kinds` lists for this kind. */
  params: Record<string, unknown>;
  catch_up: string;
  overlap: string;
  timeout_s: number;
  retries: number;
  paused: boolean;
  next_at_ms: number | null;
  last: JobDocument | null;
}

/** The schedules of schedules.yaml, each with its next due time and its last job. */
export interface ScheduleList {
  schedules: ScheduleDocument[];
}

/** Whether the schedule is paused, and all schedules. */
export interface SchedulePause {
  schedules: ScheduleDocument[];
  schedule: string;
  paused: boolean;
}

/**
 * Reports by payments of an acquirer or a merchant in a calendar month, and the limit of a scheme's programme.
 * `merchants` are those with most reports, for an acquirer. The ratio is null without payments. At the pace of
 * the last 28 days the limit is reached in `days_left` days, after `money_left` of further reported payments;
 * null if not in this month.
 */
export interface SchemeRatio {
  programme: string;
  month: string;
  acquirer: string | null;
  merchant: string | null;
  reports: number;
  money: string;
  payments: number;
  ratio: number | null;
  limit: number;
  minimum: number;
  days_left?: number | null;
  money_left?: string | null;
  merchants?: Record<string, number>;
}

/** Second reviews: how many are waiting, done, and equal to the first; disagreements wait for a third person. */
export interface SecondLooks {
  waiting: number;
  disagreements: number;
  decided: number;
  agreed: number;
  agreement: number | null;
}

/** One session. */
export interface SessionAnswer {
  session: SessionDocument;
}

/** An open session, without its token. `device` is what the browser says of itself. */
export interface SessionDocument {
  id: string;
  user: string;
  address: string;
  device: string;
  signed_in_at: string;
  used_at: string;
  ends_at: string;
}

/** The sessions, most recently used first. */
export interface Sessions {
  sessions: SessionDocument[];
}

/** Put a draft in shadow: a new rule under its own id, a changed rule as a trial under another id. */
export interface ShadowDraft {
  etag: string;
  file?: string;
  reason?: string;
}

/** The changed rule. */
export interface ShowBlastRadius {
  /** Its changed text. [default: its draft] */
  text?: string | null;
}

/** A user without an open session. */
export interface SignedOutUser {
  user: UserDocument;
}

/** Approve, as the second person, a silence that somebody else requested; needs a signed-in user. */
export interface SilenceApproval {
  rule: string;
  etag: string;
}

/** End the silence of a rule for the key of the case; the answer says whether that is active. */
export interface SilenceEnd {
  rule: string;
}

/** Silence a rule for the key of the case, for events before a time; the answer says whether it is active. */
export interface SilenceRequest {
  rule: string;
  until: string;
  text: string;
}

/** The progress of a sink: `through` is null before the first delivery, `trouble` while rows are accepted. */
export interface SinkHealth {
  name: string;
  kind: string;
  through: number | null;
  lag: number;
  stuck: number;
  trouble: string | null;
}

/** A step: the users who reached it, their share of those at the first step, and seconds since the previous step. */
export interface StepRow {
  funnel: string;
  step: string;
  users: number;
  conversion: number | null;
  lower_quartile_s: number | null;
  median_s: number | null;
  upper_quartile_s: number | null;
  value?: string | null;
}

/** The rows that a table has now; `why_not` says why they are not active yet. */
export interface TableChange {
  name: string;
  rows: number;
  is_new: boolean;
  why_not: string | null;
}

/** A row of a table, its key as the file has it, and the line; `since` is the time from which on it is valid. */
export interface TableRow {
  key: string;
  line: number | null;
  since: string | null;
  values: Record<string, string | null>;
}

/** The rows of a table, and the columns of a new one. */
export interface TableRows {
  /** CSV whose first line names the columns. */
  csv: string;
  /** Column by which a value finds its row. [default: the first one] */
  key?: string;
  /** How: by an equal text or integer, by the longest prefix or suffix, or by the smallest network. */
  key_type?: "integer" | "network" | "prefix" | "suffix" | "text";
  /** The other columns and their types, such as 'country: text?, since: time'. [default: those of the file] */
  columns?: string;
}

/** A table: its file, how keys are looked up (`equal`, `prefix`, `suffix`, `network`), and what reads it. */
export interface TableSummary {
  name: string;
  file: string;
  match: string;
  columns: string[];
  rows: number;
  read_by: string[];
}

/** A table with its newest versions; the row that a value gives, and the rows that one version changed. */
export interface TableView {
  table: TableSummary;
  value: string;
  row: TableRow | null;
  versions: LookUpVersion[];
  difference: string[];
}

/**
 * Result of a test mail: accepted by the mail server, or the refused addresses. `folder` is where its file is if
 * no server is set, for commands and programs on this machine.
 */
export interface TestSent {
  sent: boolean;
  refused: string[];
  folder?: string;
}

/** An event that a changed rule touches. A second look hides its label. */
export interface TouchedEvent {
  id: string;
  seq: number;
  time: string;
  money: string;
  before: string;
  after: string;
  label: string;
}

/** Events touched in one way, with the number of different keys and of each label; `examples` are the newest. */
export interface TouchedEvents {
  way: string;
  events: number;
  money: string;
  entities: number;
  labels: Record<string, number>;
  examples: TouchedEvent[];
}

/** Of the users who came to the first step on a day, the number that reached a step by the end of the last day. */
export interface TrendRow {
  funnel: string;
  day: string;
  step: string;
  users: number;
}

/** An event of a type that is not decided. */
export interface Undecided {
  decided: boolean;
  event: string;
  id: string;
  seq: number | null;
}

/** One user. */
export interface UserAnswer {
  user: UserDocument;
}

/** Change a user. A changed role or a disabled sign-in ends the user's sessions. */
export interface UserChange {
  role?: string | null;
  disabled?: boolean | null;
  display_name?: string | null;
  email?: string | null;
}

/** A user, without a credential. `signs_in_by` is `password`, `oidc` or `nothing`. */
export interface UserDocument {
  id: string;
  name: string;
  display_name: string;
  email: string;
  role: string;
  disabled: boolean;
  signs_in_by: string;
  second_factor: boolean;
  made_at: string;
  last_login_at: string | null;
}

/**
 * A one-time link: its path and its full URL, if the address of the service is known; without `user` for an
 * admin. It sets the user's password, or creates an admin.
 */
export interface UserLink {
  link: string;
  url: string | null;
  user: string | null;
}

/** Users with their roles. */
export interface Users {
  users: UserDocument[];
}

/** A page of the users behind a number, in order, and their total; `next` if there are more. */
export interface UsersPage {
  users: string[];
  total: number;
  next: string | null;
}

/** A feature's values in earlier decisions of this entity. */
export interface Usual {
  count: number;
  lowest: string | number | boolean | null;
  median: string | number | boolean | null;
  highest: string | number | boolean | null;
}

/** Save a filter under a name of your own; an existing one is replaced. */
export interface ViewQuery {
  query: string;
  shared?: boolean;
}

/**
 * A waived gate, with the name of the promoter and the reason. `limit` is the failed limit, in words; old files
 * have none.
 */
export interface Waiver {
  gate: string;
  reason: string;
  by: string;
  limit?: string;
}

/** Write the event that breaks a law as a test into a draft of a rule, which fails until the rule hits it. */
export interface WriteLawTest {
  /** The rule that should hit the event. */
  rule: string;
}

/** The operations of a service, one method each. */
export class Api extends Transport {
  /** Count events by type and day; each event counts once. */
  postAnalyticsEventCounts(body: CountQuestion): Promise<CountRows> {
    return this.call("POST", `/api/v1/analytics/event-counts`, { body });
  }

  /** List the event types, their fields for counts, and the sources of events. */
  getAnalyticsEventTypes(): Promise<CountableTypes> {
    return this.call("GET", `/api/v1/analytics/event-types`);
  }

  /** Show the features of one key of an entity at a point in time. */
  postAnalyticsFacts(body: KeyAtMoment): Promise<FactsDocument> {
    return this.call("POST", `/api/v1/analytics/facts`, { body });
  }

  /** List the funnels of funnels.yaml. */
  getAnalyticsFunnels(): Promise<DeclaredFunnels> {
    return this.call("GET", `/api/v1/analytics/funnels`);
  }

  /** Count the users at each step of a funnel, or of all funnels of funnels.yaml. */
  postAnalyticsFunnels(body: FunnelDays): Promise<FunnelDocument> {
    return this.call("POST", `/api/v1/analytics/funnels`, { body });
  }

  /** List the users behind a number of a funnel, up to 1,000 at once. */
  postAnalyticsFunnelsUsers(body: FunnelUsers): Promise<UsersPage> {
    return this.call("POST", `/api/v1/analytics/funnels/users`, { body });
  }

  /**
   * List the changes that wait for a second person: of rules, lists, silences, models, thresholds, users and
   * keys.
   */
  getApprovals(): Promise<Approvals> {
    return this.call("GET", `/api/v1/approvals`);
  }

  /** Approve a change that another person requested, or withdraw it; both take the right that the change takes. */
  putApprovalsEtag(etag: string, body: AnswerApproval): Promise<ApprovalAnswer> {
    return this.call("PUT", `/api/v1/approvals/${part(etag)}`, { body });
  }

  /** Sum up a case. Keys, names, notes and texts of events are not sent to the model. */
  postAssistantCasesId(id: string): Promise<CaseSummary> {
    return this.call("POST", `/api/v1/assistant/cases/${part(id)}`);
  }

  /** Draft a rule from a sentence, check it, run its tests, count its hits and save it as a draft. */
  postAssistantDrafts(body: DraftRule): Promise<AssistantDraft> {
    return this.call("POST", `/api/v1/assistant/drafts`, { body });
  }

  /** List the audit log, newest first: who did what, with old and new values. */
  getAudit(options: { who?: string; action?: string; subject?: string; from?: string; to?: string; limit?: string; cursor?: string } = {}): Promise<AuditRows> {
    return this.call("GET", `/api/v1/audit`, { query: { "who": options.who, "action": options.action, "subject": options.subject, "from": options.from, "to": options.to, "limit": options.limit, "cursor": options.cursor } });
  }

  /** Verify the hash chain of the audit log and its sealed end. */
  postAuditVerify(): Promise<AuditCheck> {
    return this.call("POST", `/api/v1/audit/verify`);
  }

  /** Show the rules that close cases: on past cases, with the fraud among them, and since their approval. */
  getAutoClose(options: { days?: string } = {}): Promise<CloseRules> {
    return this.call("GET", `/api/v1/auto-close`, { query: { "days": options.days } });
  }

  /** Let a rule close cases from now on, as it is now: a changed rule needs another approval. */
  postAutoCloseRuleApprove(rule: string): Promise<CloseRules> {
    return this.call("POST", `/api/v1/auto-close/${part(rule)}/approve`);
  }

  /** Let a rule close no more cases until it is approved again. */
  postAutoCloseRuleStop(rule: string): Promise<CloseRules> {
    return this.call("POST", `/api/v1/auto-close/${part(rule)}/stop`);
  }

  /** List the back-tests of drafts. */
  getBacktests(): Promise<BacktestRuns> {
    return this.call("GET", `/api/v1/backtests`);
  }

  /** Compare a draft of rules, a policy or a model with the project without it, over the log. */
  postBacktests(body: BacktestRequest): Promise<unknown> {
    return this.call("POST", `/api/v1/backtests`, { body });
  }

  /** Get the progress of a back-test, and its final report. */
  getBacktestsId(id: string): Promise<BacktestRun> {
    return this.call("GET", `/api/v1/backtests/${part(id)}`);
  }

  /** Get today's review capacity: cases done, expected end of the queue, and second reviews. */
  getCapacity(options: { since?: string } = {}): Promise<Capacity> {
    return this.call("GET", `/api/v1/capacity`, { query: { "since": options.since } });
  }

  /** List the cases that match a filter (the queue), those due first at the top. */
  getCases(options: { state?: string; entity?: string; key?: string; assignee?: string; rule?: string; min_stake?: string; due_within?: string; text?: string; customer?: string; tag?: string; queue?: string; order?: string; limit?: string; cursor?: string } = {}): Promise<CaseList> {
    return this.call("GET", `/api/v1/cases`, { query: { "state": options.state, "entity": options.entity, "key": options.key, "assignee": options.assignee, "rule": options.rule, "min_stake": options.min_stake, "due_within": options.due_within, "text": options.text, "customer": options.customer, "tag": options.tag, "queue": options.queue, "order": options.order, "limit": options.limit, "cursor": options.cursor } });
  }

  /** Decide, claim or snooze several cases. Cases that cannot be changed are reported; the others are changed. */
  postCasesBulk(body: CasesAction): Promise<CasesActed> {
    return this.call("POST", `/api/v1/cases/bulk`, { body });
  }

  /** Claim the case that is due first, of those that match a filter and are free or already yours. */
  postCasesClaimNext(options: { state?: string; entity?: string; key?: string; assignee?: string; rule?: string; min_stake?: string; due_within?: string; text?: string; customer?: string; tag?: string; queue?: string; order?: string } = {}): Promise<CaseClaimed> {
    return this.call("POST", `/api/v1/cases/claim-next`, { query: { "state": options.state, "entity": options.entity, "key": options.key, "assignee": options.assignee, "rule": options.rule, "min_stake": options.min_stake, "due_within": options.due_within, "text": options.text, "customer": options.customer, "tag": options.tag, "queue": options.queue, "order": options.order } });
  }

  /** Undo a recent action on one or several cases; those that another user has changed since stay unchanged. */
  postCasesUndo(body: CaseUndo): Promise<CasesUndone> {
    return this.call("POST", `/api/v1/cases/undo`, { body });
  }

  /** Show one case with its alerts, notes, history and files. */
  getCasesId(id: string): Promise<CaseWhole> {
    return this.call("GET", `/api/v1/cases/${part(id)}`);
  }

  /** Approve, as the second person, a silence that somebody else requested; needs a signed-in user. */
  postCasesIdApproveSilence(id: string, body: SilenceApproval, options: { "If-Match"?: string } = {}): Promise<CaseSilenced> {
    return this.call("POST", `/api/v1/cases/${part(id)}/approve-silence`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Assign a case to a user by name, or to nobody. */
  postCasesIdAssign(id: string, body: CaseAssignment, options: { "If-Match"?: string } = {}): Promise<Case> {
    return this.call("POST", `/api/v1/cases/${part(id)}/assign`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Tick an item of a case's checklist, or open it again. */
  postCasesIdCheck(id: string, body: CaseChecked, options: { "If-Match"?: string } = {}): Promise<Case> {
    return this.call("POST", `/api/v1/cases/${part(id)}/check`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Claim a case; it is locked for you until the lock expires. */
  postCasesIdClaim(id: string, options: { "If-Match"?: string } = {}): Promise<Case> {
    return this.call("POST", `/api/v1/cases/${part(id)}/claim`, { headers: { "If-Match": options["If-Match"] } });
  }

  /** Decide a case: it closes at once; labels of its events are written 8 s later unless you undo it. */
  postCasesIdDecide(id: string, body: CaseVerdict, options: { "If-Match"?: string } = {}): Promise<CaseDecided> {
    return this.call("POST", `/api/v1/cases/${part(id)}/decide`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** End the silence of a rule for the key of the case; the answer says whether that is active. */
  postCasesIdEndSilence(id: string, body: SilenceEnd, options: { "If-Match"?: string } = {}): Promise<CaseSilenced> {
    return this.call("POST", `/api/v1/cases/${part(id)}/end-silence`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Escalate a case, to a user or to anybody else. */
  postCasesIdEscalate(id: string, body: CaseEscalation, options: { "If-Match"?: string } = {}): Promise<Case> {
    return this.call("POST", `/api/v1/cases/${part(id)}/escalate`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Run a macro: its note, its tags, and its answer, escalation or snooze in one step. */
  postCasesIdMacro(id: string, body: CaseMacro, options: { "If-Match"?: string } = {}): Promise<CaseDecided> {
    return this.call("POST", `/api/v1/cases/${part(id)}/macro`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Move a case to another queue. */
  postCasesIdMove(id: string, body: CaseMove, options: { "If-Match"?: string } = {}): Promise<Case> {
    return this.call("POST", `/api/v1/cases/${part(id)}/move`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Add a note to a case. */
  postCasesIdNote(id: string, body: CaseText): Promise<Case> {
    return this.call("POST", `/api/v1/cases/${part(id)}/note`, { body });
  }

  /** Release a case. */
  postCasesIdRelease(id: string, options: { "If-Match"?: string } = {}): Promise<Case> {
    return this.call("POST", `/api/v1/cases/${part(id)}/release`, { headers: { "If-Match": options["If-Match"] } });
  }

  /** Reopen a closed case. */
  postCasesIdReopen(id: string, body: CaseText, options: { "If-Match"?: string } = {}): Promise<Case> {
    return this.call("POST", `/api/v1/cases/${part(id)}/reopen`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Silence a rule for the key of the case, for events before a time; the answer says whether it is active. */
  postCasesIdSilence(id: string, body: SilenceRequest, options: { "If-Match"?: string } = {}): Promise<CaseSilenced> {
    return this.call("POST", `/api/v1/cases/${part(id)}/silence`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Snooze a case until a time. */
  postCasesIdSnooze(id: string, body: CaseSnooze, options: { "If-Match"?: string } = {}): Promise<CaseActed> {
    return this.call("POST", `/api/v1/cases/${part(id)}/snooze`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Set the tags of a case, open or closed. */
  postCasesIdTags(id: string, body: CaseTags, options: { "If-Match"?: string } = {}): Promise<Case> {
    return this.call("POST", `/api/v1/cases/${part(id)}/tags`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Undo a recent action, by its number. */
  postCasesIdUndo(id: string, body: CaseUndo): Promise<CasesUndone> {
    return this.call("POST", `/api/v1/cases/${part(id)}/undo`, { body });
  }

  /** List inactive changes in the project's files: files, and settings of shroff.yaml. */
  getChanges(): Promise<FileChanges> {
    return this.call("GET", `/api/v1/changes`);
  }

  /** Make the project's files the active version, from the next event on. */
  postChangesApply(body: ChangesStep): Promise<AppliedChanges> {
    return this.call("POST", `/api/v1/changes/apply`, { body });
  }

  /** A decision. */
  getDecisionsEventId(event: string, id: string, options: { explain?: string } = {}): Promise<Decision> {
    return this.call("GET", `/api/v1/decisions/${part(event)}/${part(id)}`, { query: { "explain": options.explain } });
  }

  /** Explain a decision: the model's reasons, its features beside earlier values, and its rules in words. */
  getDecisionsEventIdExplain(event: string, id: string): Promise<Decision> {
    return this.call("GET", `/api/v1/decisions/${part(event)}/${part(id)}/explain`);
  }

  /** List the questions to customers about a decision, and their answers. */
  getDecisionsEventIdQuestions(event: string, id: string): Promise<Questions> {
    return this.call("GET", `/api/v1/decisions/${part(event)}/${part(id)}/questions`);
  }

  /** Replay a decision: compute it again from the log and compare. */
  getDecisionsEventIdReplay(event: string, id: string): Promise<Replay> {
    return this.call("GET", `/api/v1/decisions/${part(event)}/${part(id)}/replay`);
  }

  /** List disputes at their latest stage, with due dates and whether they meet Visa's Compelling Evidence 3.0. */
  getDisputes(options: { open?: string; stage?: string; due_within?: string; as_of?: string; limit?: string; cursor?: string } = {}): Promise<DisputePage> {
    return this.call("GET", `/api/v1/disputes`, { query: { "open": options.open, "stage": options.stage, "due_within": options.due_within, "as_of": options.as_of, "limit": options.limit, "cursor": options.cursor } });
  }

  /** Import stages of disputes, each as a label of the source 'chargeback'. */
  postDisputes(body: ImportDisputes): Promise<DisputesImported> {
    return this.call("POST", `/api/v1/disputes`, { body });
  }

  /**
   * Make the evidence pack of disputes: payment, decision and reasons, device, addresses, receipt, prior
   * payments.
   */
  getDisputesPack(options: { event?: string } = {}): Promise<DisputeList> {
    return this.call("GET", `/api/v1/disputes/pack`, { query: { "event": options.event } });
  }

  /** List all rule drafts. */
  getDrafts(): Promise<RuleDrafts> {
    return this.call("GET", `/api/v1/drafts`);
  }

  /** List keys of an entity with their newest events and flags: the newest keys, or those that begin with a text. */
  getEntitiesEntity(entity: string, options: { prefix?: string; limit?: string; cursor?: string } = {}): Promise<EntityKeys> {
    return this.call("GET", `/api/v1/entities/${part(entity)}`, { query: { "prefix": options.prefix, "limit": options.limit, "cursor": options.cursor } });
  }

  /** Get one key of an entity: its events, features as of the last decision, flags, and related keys. */
  getEntitiesEntityKey(entity: string, key: string, options: { limit?: string; cursor?: string } = {}): Promise<EntityView> {
    return this.call("GET", `/api/v1/entities/${part(entity)}/${part(key)}`, { query: { "limit": options.limit, "cursor": options.cursor } });
  }

  /** Show by which values a key is linked to other keys of its entity, and what happened with them. */
  getEntitiesEntityKeyLinks(entity: string, key: string, options: { as_of?: string; steps?: string } = {}): Promise<EntityLinksAnswer> {
    return this.call("GET", `/api/v1/entities/${part(entity)}/${part(key)}/links`, { query: { "as_of": options.as_of, "steps": options.steps } });
  }

  /** Compare the keys that an experiment or the rollout of a rule has drawn with all others, in money. */
  getExperiments(options: { rule?: string; as_of?: string } = {}): Promise<Experiment> {
    return this.call("GET", `/api/v1/experiments`, { query: { "rule": options.rule, "as_of": options.as_of } });
  }

  /** End an experiment of policy.yaml: all keys get the policy of arm A, or with --promote that of arm B. */
  postExperimentsEnd(body: EndExperiment): Promise<AppliedCutoffs> {
    return this.call("POST", `/api/v1/experiments/end`, { body });
  }

  /** Profile features: type, cost, what reads them, and their values at the newest 1,000 decided events. */
  getFeatures(options: { event?: string; expression?: string } = {}): Promise<FeatureProfiles> {
    return this.call("GET", `/api/v1/features`, { query: { "event": options.event, "expression": options.expression } });
  }

  /** List the flags of one key of an entity, newest first. */
  getFlags(options: { entity?: string; key?: string; field?: string; value?: string; limit?: string; cursor?: string } = {}): Promise<Flags> {
    return this.call("GET", `/api/v1/flags`, { query: { "entity": options.entity, "key": options.key, "field": options.field, "value": options.value, "limit": options.limit, "cursor": options.cursor } });
  }

  /**
   * Record whether a flag was right. The answer becomes an analyst's label, fraud or genuine, of its event: it
   * judges all flags of that event.
   */
  patchFlagsId(id: string, body: FlagJudgement): Promise<FlagShown> {
    return this.call("PATCH", `/api/v1/flags/${part(id)}`, { body });
  }

  /** List the guards with what they found last. */
  getGuards(): Promise<GuardStates> {
    return this.call("GET", `/api/v1/guards`);
  }

  /** Undo a stop: the file is as it was before, and the guard stays off until its text changes. */
  postGuardsNameUndo(name: string): Promise<GuardStates> {
    return this.call("POST", `/api/v1/guards/${part(name)}/undo`);
  }

  /**
   * Get the service's health: the findings of `shroff doctor`, at most a minute old, sinks, drift, and alerts of
   * Prometheus that fire.
   */
  getHealth(): Promise<Health> {
    return this.call("GET", `/api/v1/health`);
  }

  /**
   * Receive alerts of Prometheus from Alertmanager (a `webhook_configs` receiver). `GET /api/v1/health` and the
   * screen *Health* show those that fire, at most 200. An alert ends when it is resolved, or 15 minutes after
   * its last repeat.
   */
  postHealthAlerts(body: PostedAlerts): Promise<AlertCount> {
    return this.call("POST", `/api/v1/health/alerts`, { body });
  }

  /** List the newest jobs with their states and progress, newest first. */
  getJobs(options: { limit?: string; before?: string } = {}): Promise<JobList> {
    return this.call("GET", `/api/v1/jobs`, { query: { "limit": options.limit, "before": options.before } });
  }

  /** Queue a job: features, train, backtest, lake, marts and others. Only one job of a kind can wait or run. */
  postJobs(body: NewJob): Promise<JobDocument> {
    return this.call("POST", `/api/v1/jobs`, { body });
  }

  /** List the kinds of jobs and their parameters. */
  getJobsKinds(): Promise<JobKinds> {
    return this.call("GET", `/api/v1/jobs/kinds`);
  }

  /** Show a job: its parameters, progress by step, log and result. */
  getJobsId(id: string): Promise<JobDocument> {
    return this.call("GET", `/api/v1/jobs/${part(id)}`);
  }

  /** Cancel a job that waits or runs; a running one stops soon. Requires the right to start it. */
  postJobsIdCancel(id: string): Promise<JobDocument> {
    return this.call("POST", `/api/v1/jobs/${part(id)}/cancel`);
  }

  /** List all API keys, revoked ones included, without their secret text. */
  getKeys(): Promise<Keys> {
    return this.call("GET", `/api/v1/keys`);
  }

  /** Create an API key and show it, this one time. It has at most the rights of its creator. */
  postKeys(body: NewKey): Promise<NewKeyAnswer> {
    return this.call("POST", `/api/v1/keys`, { body });
  }

  /** Revoke an API key by its id, its name or its text. Running services may accept it for one more second. */
  deleteKeysId(id: string, options: { with_made?: string } = {}): Promise<RevokedKey> {
    return this.call("DELETE", `/api/v1/keys/${part(id)}`, { query: { "with_made": options.with_made } });
  }

  /** Get statistics of labels: how many, how fast, conflicting, unmatched, and customers' answers. */
  getLabels(): Promise<LabelsTogether> {
    return this.call("GET", `/api/v1/labels`);
  }

  /** Prove the laws in laws/*.yaml for all events, or refute each by an event that breaks it. */
  getLaws(): Promise<LawsProved> {
    return this.call("GET", `/api/v1/laws`);
  }

  /** Write the event that breaks a law as a test into a draft of a rule, which fails until the rule hits it. */
  postLawsLawTest(law: string, body: WriteLawTest): Promise<RuleDraftText> {
    return this.call("POST", `/api/v1/laws/${part(law)}/test`, { body });
  }

  /** List the lists that rules and features read. */
  getLists(): Promise<Lists> {
    return this.call("GET", `/api/v1/lists`);
  }

  /** Show the entries of a list, in the order of its file. */
  getListsList(list: string): Promise<ListEntries> {
    return this.call("GET", `/api/v1/lists/${part(list)}`);
  }

  /** Add entries of a CSV file to a list and make them active; entries with the same value are replaced. */
  putListsList(list: string, body: ListSheet, options: { "If-Match"?: string } = {}): Promise<ListChange> {
    return this.call("PUT", `/api/v1/lists/${part(list)}`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** Approve, as the second person, a requested change of a list. */
  postListsListApprove(list: string, body: ListApproval): Promise<ListChange> {
    return this.call("POST", `/api/v1/lists/${part(list)}/approve`, { body });
  }

  /** Add a value to lists/NAME.csv and make it active; an entry with the same value is replaced. */
  postListsListEntries(list: string, body: NewListEntry): Promise<ListChange> {
    return this.call("POST", `/api/v1/lists/${part(list)}/entries`, { body });
  }

  /** Remove a value from lists/NAME.csv and make that active. */
  deleteListsListEntriesValue(list: string, value: string, options: { reason?: string } = {}): Promise<ListChange> {
    return this.call("DELETE", `/api/v1/lists/${part(list)}/entries/${part(value)}`, { query: { "reason": options.reason } });
  }

  /** Get live figures: events and decisions in a period up to the newest event, latency, and backlog. */
  getLive(options: { period?: string } = {}): Promise<Live> {
    return this.call("GET", `/api/v1/live`, { query: { "period": options.period } });
  }

  /** List the built-in mailbox: mails stored as files, if no mail server is set. */
  getMailbox(options: { limit?: string } = {}): Promise<Mailbox> {
    return this.call("GET", `/api/v1/mailbox`, { query: { "limit": options.limit } });
  }

  /** Get one mail of the built-in mailbox. */
  getMailboxName(name: string): Promise<KeptMail> {
    return this.call("GET", `/api/v1/mailbox/${part(name)}`);
  }

  /** List the models of the registry with their current state, newest first. */
  getModels(): Promise<Models> {
    return this.call("GET", `/api/v1/models`);
  }

  /** Show one model: its origin, its metrics and its gates. */
  getModelsId(id: string): Promise<Model> {
    return this.call("GET", `/api/v1/models/${part(id)}`);
  }

  /** Promote a model, roll it back, put it in shadow or take it out; with a reason, which is recorded. */
  postModelsId(id: string, body: ModelChange): Promise<Deployment> {
    return this.call("POST", `/api/v1/models/${part(id)}`, { body });
  }

  /** List the names that a rule's expressions can use: features, fields, functions, lists and tables, with types. */
  getNames(): Promise<Names> {
    return this.call("GET", `/api/v1/names`);
  }

  /** List the notices of the project with their triggers and channels. */
  getNotices(): Promise<Notices> {
    return this.call("GET", `/api/v1/notices`);
  }

  /** Make a link for the customer to a page with the reasons of a decision, where they can say that it is wrong. */
  postNoticesWhy(body: LinkReasons): Promise<ReasonsLink> {
    return this.call("POST", `/api/v1/notices/why`, { body });
  }

  /** Preview the mail of a notice. Nothing is sent, and the link in it does not work. */
  getNoticesNamePreview(name: string, options: { event?: string; day?: string } = {}): Promise<MailPreview> {
    return this.call("GET", `/api/v1/notices/${part(name)}/preview`, { query: { "event": options.event, "day": options.day } });
  }

  /** Send the mail of a notice to an address, marked as a test. Exit status 1 if it is refused. */
  postNoticesNameTest(name: string, body: NoticeTest): Promise<TestSent> {
    return this.call("POST", `/api/v1/notices/${part(name)}/test`, { body });
  }

  /** List the newest letters (mails, calls and documents): sent, waiting or refused. */
  getOutbox(options: { state?: string; limit?: string; cursor?: string } = {}): Promise<LetterPage> {
    return this.call("GET", `/api/v1/outbox`, { query: { "state": options.state, "limit": options.limit, "cursor": options.cursor } });
  }

  /** Send a letter again that was refused, or whose delivery is unknown. */
  postOutboxIdRetry(id: string): Promise<LetterShown> {
    return this.call("POST", `/api/v1/outbox/${part(id)}/retry`);
  }

  /** List quarantined input, newest first. */
  getQuarantine(options: { limit?: string; cursor?: string } = {}): Promise<QuarantinePage> {
    return this.call("GET", `/api/v1/quarantine`, { query: { "limit": options.limit, "cursor": options.cursor } });
  }

  /** Drop quarantined entries for good. */
  postQuarantineDrop(body: QuarantineNumbers): Promise<DroppedEntries> {
    return this.call("POST", `/api/v1/quarantine/drop`, { body });
  }

  /** Retry entries with the current project, all of them if no number is given; refused entries stay. */
  postQuarantineRetry(body: QuarantineNumbers): Promise<RetriedEntries> {
    return this.call("POST", `/api/v1/quarantine/retry`, { body });
  }

  /** List every rule with its state and its statistics over the newest part of the log. */
  getRecords(): Promise<RuleStates> {
    return this.call("GET", `/api/v1/records`);
  }

  /** Report what fraud cost and what decisions did: volume, outcomes, fraud caught and missed, false declines. */
  getResults(options: { from?: string; to?: string; by?: string; as_of?: string; zone?: string } = {}): Promise<Results> {
    return this.call("GET", `/api/v1/results`, { query: { "from": options.from, "to": options.to, "by": options.by, "as_of": options.as_of, "zone": options.zone } });
  }

  /** List the rule files. */
  getRules(): Promise<RuleFiles> {
    return this.call("GET", `/api/v1/rules`);
  }

  /** Get one rule file with its text. */
  getRulesFile(file: string): Promise<RuleFileText> {
    return this.call("GET", `/api/v1/rules/${part(file)}`);
  }

  /** Replace the text of a rule file: it is checked with its tests, written, and made active. */
  putRulesFile(file: string, body: NewRuleFile, options: { "If-Match"?: string; "If-None-Match"?: string } = {}): Promise<RuleFileWritten> {
    return this.call("PUT", `/api/v1/rules/${part(file)}`, { body, headers: { "If-Match": options["If-Match"], "If-None-Match": options["If-None-Match"] } });
  }

  /** Restore a rule's version from a sequence number of the log; 0 removes the rule. */
  postRulesRuleBack(rule: string, body: RuleReturn): Promise<AdoptedFile> {
    return this.call("POST", `/api/v1/rules/${part(rule)}/back`, { body });
  }

  /** Show what a changed rule would have touched in the last 30 days: decisions, money, keys, and examples. */
  postRulesRuleBlastRadius(rule: string, body: ShowBlastRadius): Promise<BlastRadius> {
    return this.call("POST", `/api/v1/rules/${part(rule)}/blast-radius`, { body });
  }

  /** Show the text of a draft. */
  getRulesRuleDraft(rule: string): Promise<RuleDraftText> {
    return this.call("GET", `/api/v1/rules/${part(rule)}/draft`);
  }

  /** Save the draft of a rule, even if it has errors. Nothing becomes active. */
  putRulesRuleDraft(rule: string, body: DraftBody, options: { "If-Match"?: string; "If-None-Match"?: string } = {}): Promise<RuleDraftChecked> {
    return this.call("PUT", `/api/v1/rules/${part(rule)}/draft`, { body, headers: { "If-Match": options["If-Match"], "If-None-Match": options["If-None-Match"] } });
  }

  /** Delete a draft and its trial. */
  deleteRulesRuleDraft(rule: string, options: { "If-Match"?: string } = {}): Promise<DroppedDraft> {
    return this.call("DELETE", `/api/v1/rules/${part(rule)}/draft`, { headers: { "If-Match": options["If-Match"] } });
  }

  /** Make a draft active; it replaces the rule and its trial. Laws that are required must be proved with it. */
  postRulesRuleDraftActivate(rule: string, body: ActivateDraft): Promise<AdoptedFile> {
    return this.call("POST", `/api/v1/rules/${part(rule)}/draft/activate`, { body });
  }

  /** Approve a draft that others wrote. */
  postRulesRuleDraftApprove(rule: string, body: ApproveDraft): Promise<RuleDraft> {
    return this.call("POST", `/api/v1/rules/${part(rule)}/draft/approve`, { body });
  }

  /** Check an unsaved text: errors with line and column, test results, the rule in words, and as a form. */
  postRulesRuleDraftCheck(rule: string, body: FormBody): Promise<DraftCheck> {
    return this.call("POST", `/api/v1/rules/${part(rule)}/draft/check`, { body });
  }

  /** Count the hits of an unsaved text among the events of the last 30 days, and their amount. */
  postRulesRuleDraftCount(rule: string, body: DraftBody): Promise<DraftCount> {
    return this.call("POST", `/api/v1/rules/${part(rule)}/draft/count`, { body });
  }

  /** Prove that a rule's draft, made active, loosens nothing of the active policy; and all laws with it. */
  getRulesRuleDraftLaws(rule: string): Promise<LawsProved> {
    return this.call("GET", `/api/v1/rules/${part(rule)}/draft/laws`);
  }

  /** Put a draft in shadow: a new rule under its own id, a changed rule as a trial under another id. */
  postRulesRuleDraftShadow(rule: string, body: ShadowDraft): Promise<AdoptedFile> {
    return this.call("POST", `/api/v1/rules/${part(rule)}/draft/shadow`, { body });
  }

  /** List the versions of a rule, with their authors. */
  getRulesRuleHistory(rule: string): Promise<RuleVersions> {
    return this.call("GET", `/api/v1/rules/${part(rule)}/history`);
  }

  /** List the newest events that a rule hit, with their labels. */
  getRulesRuleHits(rule: string, options: { limit?: string; cursor?: string } = {}): Promise<RuleHits> {
    return this.call("GET", `/api/v1/rules/${part(rule)}/hits`, { query: { "limit": options.limit, "cursor": options.cursor } });
  }

  /** Show one rule in words, with its statistics. */
  getRulesRuleRecord(rule: string): Promise<RuleWhole> {
    return this.call("GET", `/api/v1/rules/${part(rule)}/record`);
  }

  /** List the schedules of schedules.yaml: what they run, when they are due next, and their last result. */
  getSchedules(): Promise<ScheduleList> {
    return this.call("GET", `/api/v1/schedules`);
  }

  /** Pause a schedule. Runs that are due during the pause are skipped. */
  postSchedulesNamePause(name: string): Promise<SchedulePause> {
    return this.call("POST", `/api/v1/schedules/${part(name)}/pause`);
  }

  /** Resume a paused schedule, from now on. */
  postSchedulesNameResume(name: string): Promise<SchedulePause> {
    return this.call("POST", `/api/v1/schedules/${part(name)}/resume`);
  }

  /** Run the job of a schedule now. */
  postSchedulesNameRun(name: string): Promise<JobDocument> {
    return this.call("POST", `/api/v1/schedules/${part(name)}/run`);
  }

  /** List open sessions. */
  getSessions(): Promise<Sessions> {
    return this.call("GET", `/api/v1/sessions`);
  }

  /** End a session. */
  deleteSessionsId(id: string): Promise<SessionAnswer> {
    return this.call("DELETE", `/api/v1/sessions/${part(id)}`);
  }

  /** List look-up tables: how they are looked up, their rows, and what reads them. */
  getTables(): Promise<LookUpTables> {
    return this.call("GET", `/api/v1/tables`);
  }

  /** Show a look-up table: the row that a value gives, its versions, and who applied them. */
  getTablesName(name: string, options: { value?: string; at?: string; seq?: string } = {}): Promise<TableView> {
    return this.call("GET", `/api/v1/tables/${part(name)}`, { query: { "value": options.value, "at": options.at, "seq": options.seq } });
  }

  /** Create a look-up table from a CSV file, or replace all rows of one, and make that active. */
  putTablesName(name: string, body: TableRows): Promise<TableChange> {
    return this.call("PUT", `/api/v1/tables/${part(name)}`, { body });
  }

  /** Choose the thresholds of the score with the lowest cost of fraud, declines and reviews, by policy.yaml. */
  getThresholds(options: { event?: string; model?: string; missed?: string; false_decline?: string; review?: string; reviews_a_day?: string; review_at?: string; decline_at?: string } = {}): Promise<CheapestThresholds> {
    return this.call("GET", `/api/v1/thresholds`, { query: { "event": options.event, "model": options.model, "missed": options.missed, "false_decline": options.false_decline, "review": options.review, "reviews_a_day": options.reviews_a_day, "review_at": options.review_at, "decline_at": options.decline_at } });
  }

  /** Write other thresholds, and costs, of an event type into policy.yaml; with a reason, which is recorded. */
  putThresholdsEvent(event: string, body: NewCutoffs, options: { "If-Match"?: string } = {}): Promise<AppliedCutoffs> {
    return this.call("PUT", `/api/v1/thresholds/${part(event)}`, { body, headers: { "If-Match": options["If-Match"] } });
  }

  /** List all users with their roles. */
  getUsers(): Promise<Users> {
    return this.call("GET", `/api/v1/users`);
  }

  /** Add a user. Without a password, the output has a one-time link to set one, valid for three days. */
  postUsers(body: NewUser): Promise<NewUserAnswer> {
    return this.call("POST", `/api/v1/users`, { body });
  }

  /** Change a user. A changed role or a disabled sign-in ends the user's sessions. */
  patchUsersName(name: string, body: UserChange): Promise<UserAnswer> {
    return this.call("PATCH", `/api/v1/users/${part(name)}`, { body });
  }

  /** Remove a user and the API keys that the user made. The audit log keeps the name and its actions. */
  deleteUsersName(name: string): Promise<RemovedUser> {
    return this.call("DELETE", `/api/v1/users/${part(name)}`);
  }

  /** Remove the second factor of a user who lost the device; the user's sessions end. */
  deleteUsersNameFactor(name: string, options: { code?: string } = {}): Promise<FactorlessUser> {
    return this.call("DELETE", `/api/v1/users/${part(name)}/factor`, { query: { "code": options.code } });
  }

  /** Create a one-time link: with a NAME it sets that user's password, without one it creates an admin. */
  postUsersNameLink(name: string): Promise<UserLink> {
    return this.call("POST", `/api/v1/users/${part(name)}/link`);
  }

  /** End all sessions of a user, who may sign in again. */
  deleteUsersNameSessions(name: string): Promise<SignedOutUser> {
    return this.call("DELETE", `/api/v1/users/${part(name)}/sessions`);
  }

  /** List saved filters: built-in ones, your own, and those that others share. */
  getViews(): Promise<CaseViews> {
    return this.call("GET", `/api/v1/views`);
  }

  /** Save a filter under a name of your own; an existing one is replaced. */
  putViewsName(name: string, body: ViewQuery): Promise<CaseView> {
    return this.call("PUT", `/api/v1/views/${part(name)}`, { body });
  }

  /** Delete one of your saved filters. */
  deleteViewsName(name: string): Promise<RemovedView> {
    return this.call("DELETE", `/api/v1/views/${part(name)}`);
  }

  /** Check that the process responds (liveness). */
  getHealthLive(): Promise<Liveness> {
    return this.call("GET", `/health/live`);
  }

  /** Check readiness: whether the service accepts events. */
  getHealthReady(): Promise<Readiness> {
    return this.call("GET", `/health/ready`);
  }
}
