// Code generated from the OpenAPI document by tools/clients.py. DO NOT EDIT.

package shroff

import "context"

// ActivateDraft: Make a draft active; it replaces the rule and its trial. Laws that are required must be
// proved with it.
type ActivateDraft struct {
	Etag   string  `json:"etag"`
	File   *string `json:"file,omitempty"`
	Reason *string `json:"reason,omitempty"`
}

// AdoptedFile: The file of a rule, and whether the log uses it yet.
type AdoptedFile struct {
	File    string  `json:"file"`
	InForce bool    `json:"in_force"`
	WhyNot  *string `json:"why_not"`
}

// AlertCount: The number of alerts that fire now.
type AlertCount struct {
	Firing int64 `json:"firing"`
}

// AlertLabel: The label of an alert.
type AlertLabel struct {
	Verdict string  `json:"verdict"`
	Source  *string `json:"source"`
	KnownAt *string `json:"known_at"`
}

// AnswerApproval: Approve a change that another person requested, or withdraw it; both take the right that
// the change takes.
type AnswerApproval struct {
	Approve bool    `json:"approve"`
	Note    *string `json:"note,omitempty"`
}

// AppliedChanges: The changes that were applied, and the sequence number from which the log uses them.
type AppliedChanges struct {
	Changed []FileChange `json:"changed"`
	Seq     *int64       `json:"seq"`
	Applied bool         `json:"applied"`
	WhyNot  *string      `json:"why_not"`
}

// AppliedCutoffs: Whether they are active in the log yet, and a warning where arm B was promoted and is not
// proven better.
type AppliedCutoffs struct {
	InForce bool    `json:"in_force"`
	WhyNot  *string `json:"why_not"`
	Warning *string `json:"warning,omitempty"`
}

// ApprovalAnswer: The result in words. A link or a key that was made is shown this one time.
type ApprovalAnswer struct {
	Says string `json:"says"`
}

// Approvals: Changes that wait for a second person.
type Approvals struct {
	Approvals []ChangeAsked `json:"approvals"`
}

// ApproveDraft: Approve a draft that others wrote.
type ApproveDraft struct {
	Etag   string  `json:"etag"`
	File   *string `json:"file,omitempty"`
	Reason *string `json:"reason,omitempty"`
}

// AssistantDraft: A draft that was saved: its text, the rule in words, and its hits in the last 30 days with
// their money.
type AssistantDraft struct {
	Rule   string `json:"rule"`
	Text   string `json:"text"`
	Says   string `json:"says"`
	Events int64  `json:"events"`
	Hits   int64  `json:"hits"`
	Money  string `json:"money"`
	WhyNot string `json:"why_not"`
	Tries  int64  `json:"tries"`
}

// AuditBreak: A row that does not match, and the reason.
type AuditBreak struct {
	Row int64  `json:"row"`
	Why string `json:"why"`
}

// AuditCheck: The result. `breaks` are the first 100 rows that do not match, `rows` those before the first.
type AuditCheck struct {
	Ok     bool         `json:"ok"`
	Rows   int64        `json:"rows"`
	Breaks []AuditBreak `json:"breaks"`
}

// AuditRow: A row of the audit log.
type AuditRow struct {
	Number   int64  `json:"number"`
	At       string `json:"at"`
	Who      string `json:"who"`
	Name     string `json:"name"`
	Via      string `json:"via"`
	Action   string `json:"action"`
	Subject  string `json:"subject"`
	From     any    `json:"from"`
	To       any    `json:"to"`
	Previous string `json:"previous"`
	Hash     string `json:"hash"`
}

// AuditRows: A page of the audit log, the newest first. `next` is the cursor of the following page.
type AuditRows struct {
	Rows []AuditRow `json:"rows"`
	Next *string    `json:"next"`
}

// BacktestReport: The draft compared with the project without it: outcomes, rules and money of both, with
// some changed events.
type BacktestReport struct {
	Draft       []string            `json:"draft"`
	Events      int64               `json:"events"`
	Seconds     float64             `json:"seconds"`
	From        *string             `json:"from"`
	To          *string             `json:"to"`
	AsOf        string              `json:"as_of"`
	Money       string              `json:"money"`
	Outcomes    []ReportCell        `json:"outcomes"`
	Immature    int64               `json:"immature"`
	Recorded    ReportRecorded      `json:"recorded"`
	Balance     ReportBalance       `json:"balance"`
	Costs       ReportCosts         `json:"costs"`
	LearntFrom  *ReportLearnt       `json:"learnt_from"`
	Remarks     []string            `json:"remarks"`
	Rules       []ReportRule        `json:"rules"`
	RulesGone   map[string]int64    `json:"rules_gone"`
	Changed     int64               `json:"changed"`
	ChangedRows []ReportRow         `json:"changed_rows"`
	Exploration []ReportExploration `json:"exploration"`
	Undecided   int64               `json:"undecided"`
	Unknowable  string              `json:"unknowable"`
}

// BacktestRequest: A back-test to run: `rules` are files by their names, and `rule` takes the saved draft of
// that rule. Without `wait` it runs in the background.
type BacktestRequest struct {
	Rules  map[string]string `json:"rules,omitempty"`
	Policy *string           `json:"policy,omitempty"`
	Model  *string           `json:"model,omitempty"`
	From   *string           `json:"from,omitempty"`
	To     *string           `json:"to,omitempty"`
	AsOf   *string           `json:"as_of,omitempty"`
	Rule   *string           `json:"rule,omitempty"`
	Wait   *bool             `json:"wait,omitempty"`
}

// BacktestRun: One back-test: its progress, and its report once it is done. `rule` and `etag` say of which
// rule it is, and of which text of it; `done` and `total` count records that are read.
type BacktestRun struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	By        string          `json:"by"`
	BeganAtMs int64           `json:"began_at_ms"`
	State     *string         `json:"state,omitempty"`
	Rule      *string         `json:"rule,omitempty"`
	Etag      *string         `json:"etag,omitempty"`
	From      *string         `json:"from,omitempty"`
	To        *string         `json:"to,omitempty"`
	AsOf      *string         `json:"as_of,omitempty"`
	Done      *int64          `json:"done,omitempty"`
	Total     *int64          `json:"total,omitempty"`
	WhyNot    *string         `json:"why_not,omitempty"`
	Outcome   *string         `json:"outcome,omitempty"`
	Report    *BacktestReport `json:"report,omitempty"`
}

// BacktestRuns: All back-tests of drafts, newest first, without their reports.
type BacktestRuns struct {
	Backtests []BacktestRun `json:"backtests"`
}

// BlastRadius: What a changed rule would have touched among all `events` of its type: hits, decisions, and
// these by outcome.
type BlastRadius struct {
	Rule    string          `json:"rule"`
	AsOf    string          `json:"as_of"`
	Since   string          `json:"since"`
	Events  int64           `json:"events"`
	Touched []TouchedEvents `json:"touched"`
}

// Capacity: Progress of the day. `reviews_a_day` is the review capacity of the policy.
type Capacity struct {
	ReviewsADay   *int64      `json:"reviews_a_day"`
	AnsweredToday int64       `json:"answered_today"`
	ClosedToday   int64       `json:"closed_today"`
	OpenedToday   int64       `json:"opened_today"`
	Open          CaseTotals  `json:"open"`
	ClosedAnHour  float64     `json:"closed_an_hour"`
	OpenedAnHour  float64     `json:"opened_an_hour"`
	ClearAt       *string     `json:"clear_at"`
	SecondLooks   SecondLooks `json:"second_looks"`
}

// Case: A case; `alerts` is the number of its alerts.
type Case struct {
	ID           int64       `json:"id"`
	Tag          string      `json:"tag"`
	Entity       string      `json:"entity"`
	Key          string      `json:"key"`
	State        string      `json:"state"`
	Opened       string      `json:"opened"`
	Due          string      `json:"due"`
	LeftS        int64       `json:"left_s"`
	Assignee     *Person     `json:"assignee"`
	LockUntil    *string     `json:"lock_until"`
	SnoozedUntil *string     `json:"snoozed_until"`
	Outcome      *string     `json:"outcome"`
	Score        *float64    `json:"score"`
	Rule         *string     `json:"rule"`
	Reason       string      `json:"reason"`
	Stake        *Money      `json:"stake"`
	Customer     *string     `json:"customer"`
	Verdict      *string     `json:"verdict"`
	Closed       *string     `json:"closed"`
	ClosedBy     *Person     `json:"closed_by"`
	SecondLook   bool        `json:"second_look"`
	Disagreement bool        `json:"disagreement"`
	FirstVerdict *string     `json:"first_verdict"`
	Tags         []string    `json:"tags"`
	Checks       []CaseCheck `json:"checks"`
	Queue        string      `json:"queue"`
	Alerts       int64       `json:"alerts"`
}

// CaseActed: A snoozed case, and the number that undoes the snooze.
type CaseActed struct {
	Case      Case   `json:"case"`
	Undo      int64  `json:"undo"`
	UndoUntil string `json:"undo_until"`
}

// CaseAlert: An alert of a case.
type CaseAlert struct {
	Event    string      `json:"event"`
	Seq      int64       `json:"seq"`
	Time     string      `json:"time"`
	Due      string      `json:"due"`
	Outcome  *string     `json:"outcome"`
	Score    *float64    `json:"score"`
	Rule     *string     `json:"rule"`
	Rules    []string    `json:"rules"`
	Reason   string      `json:"reason"`
	Amount   *Money      `json:"amount"`
	Verdict  *string     `json:"verdict"`
	Decided  *string     `json:"decided"`
	Label    *AlertLabel `json:"label"`
	Customer *string     `json:"customer"`
}

// CaseAssignment: Assign a case to a user by name, or to nobody.
type CaseAssignment struct {
	To *string `json:"to"`
}

// CaseCheck: An item of the checklist of a case, and whether it is ticked.
type CaseCheck struct {
	Item     string `json:"item"`
	Text     string `json:"text"`
	Required bool   `json:"required"`
	Done     bool   `json:"done"`
}

// CaseChecked: Tick an item of a case's checklist, or open it again.
type CaseChecked struct {
	Item  string `json:"item"`
	Clear *bool  `json:"clear,omitempty"`
}

// CaseClaimed: The claimed case, or null if there is none.
type CaseClaimed struct {
	Case *Case `json:"case"`
}

// CaseDecided: A decided case, the list entries changed with it, and the number that undoes all of it.
// Commands write the labels at once and have no such number.
type CaseDecided struct {
	Case      Case         `json:"case"`
	Lists     []ListChange `json:"lists"`
	Undo      *int64       `json:"undo,omitempty"`
	UndoUntil *string      `json:"undo_until,omitempty"`
}

// CaseEscalation: Why a case is escalated, and the name of the user who decides it; null for anybody else.
type CaseEscalation struct {
	Text string  `json:"text"`
	To   *string `json:"to,omitempty"`
}

// CaseFailed: A case for which an action failed; `changed` says whether another user changed it first.
type CaseFailed struct {
	ID      int64  `json:"id"`
	Detail  string `json:"detail"`
	Changed bool   `json:"changed"`
}

// CaseFile: A file of a case.
type CaseFile struct {
	File      int64  `json:"file"`
	Name      string `json:"name"`
	MediaType string `json:"media_type"`
	Bytes     int64  `json:"bytes"`
	Sha256    string `json:"sha256"`
	By        Person `json:"by"`
	At        string `json:"at"`
}

// CaseLine: A line of a case's history.
type CaseLine struct {
	At    string         `json:"at"`
	By    *Person        `json:"by"`
	What  string         `json:"what"`
	Words string         `json:"words"`
	More  map[string]any `json:"more"`
}

// CaseList: A page of cases, and the totals of all matching cases.
type CaseList struct {
	Cases  []Case     `json:"cases"`
	Totals CaseTotals `json:"totals"`
	Next   *string    `json:"next"`
}

// CaseListEntry: An entry of a list to add with the answer, such as a blocked card.
type CaseListEntry struct {
	List      string  `json:"list"`
	Value     string  `json:"value"`
	Note      string  `json:"note"`
	ExpiresAt *string `json:"expires_at,omitempty"`
}

// CaseMacro: Run a macro: its note, its tags, and its answer, escalation or snooze in one step.
type CaseMacro struct {
	Macro string `json:"macro"`
}

// CaseMove: Move a case to another queue.
type CaseMove struct {
	Queue string `json:"queue"`
}

// CaseQuestion: A question to a customer about an event of a case.
type CaseQuestion struct {
	Event    string  `json:"event"`
	Asked    string  `json:"asked"`
	Until    string  `json:"until"`
	Verdict  *string `json:"verdict"`
	Answered *string `json:"answered"`
	Trouble  *string `json:"trouble"`
	Words    *string `json:"words"`
}

// CaseSilenced: A case after a rule was silenced for its key, or the silence ended; `why_not` says why this
// is not active yet.
type CaseSilenced struct {
	ID           int64       `json:"id"`
	Tag          string      `json:"tag"`
	Entity       string      `json:"entity"`
	Key          string      `json:"key"`
	State        string      `json:"state"`
	Opened       string      `json:"opened"`
	Due          string      `json:"due"`
	LeftS        int64       `json:"left_s"`
	Assignee     *Person     `json:"assignee"`
	LockUntil    *string     `json:"lock_until"`
	SnoozedUntil *string     `json:"snoozed_until"`
	Outcome      *string     `json:"outcome"`
	Score        *float64    `json:"score"`
	Rule         *string     `json:"rule"`
	Reason       string      `json:"reason"`
	Stake        *Money      `json:"stake"`
	Customer     *string     `json:"customer"`
	Verdict      *string     `json:"verdict"`
	Closed       *string     `json:"closed"`
	ClosedBy     *Person     `json:"closed_by"`
	SecondLook   bool        `json:"second_look"`
	Disagreement bool        `json:"disagreement"`
	FirstVerdict *string     `json:"first_verdict"`
	Tags         []string    `json:"tags"`
	Checks       []CaseCheck `json:"checks"`
	Queue        string      `json:"queue"`
	Alerts       int64       `json:"alerts"`
	InForce      bool        `json:"in_force"`
	WhyNot       *string     `json:"why_not"`
}

// CaseSnooze: Snooze a case until a time.
type CaseSnooze struct {
	Until string `json:"until"`
}

// CaseSummary: A case in some sentences, each number of which is in its record.
type CaseSummary struct {
	ID      int64  `json:"id"`
	Summary string `json:"summary"`
}

// CaseTag: One of several cases; with a tag, the version that the caller read.
type CaseTag struct {
	ID  int64   `json:"id"`
	Tag *string `json:"tag,omitempty"`
}

// CaseTags: Set the tags of a case, open or closed.
type CaseTags struct {
	Tags string `json:"tags"`
}

// CaseText: A text: a note, or the reason of an action.
type CaseText struct {
	Text string `json:"text"`
}

// CaseTotals: The number of cases, and the money at stake.
type CaseTotals struct {
	Count int64  `json:"count"`
	Stake *Money `json:"stake"`
}

// CaseUndo: The action to undo.
type CaseUndo struct {
	Undo int64 `json:"undo"`
}

// CaseVerdict: Decide a case: it closes at once; labels of its events are written 8 s later unless you undo
// it.
type CaseVerdict struct {
	Verdict string          `json:"verdict"`
	Event   *string         `json:"event,omitempty"`
	Reason  *string         `json:"reason,omitempty"`
	Lists   []CaseListEntry `json:"lists,omitempty"`
	Refund  *string         `json:"refund,omitempty"`
}

// CaseView: A saved filter.
type CaseView struct {
	Name   string  `json:"name"`
	Query  string  `json:"query"`
	Shared bool    `json:"shared"`
	Owner  *Person `json:"owner"`
	Count  int64   `json:"count"`
}

// CaseViews: Saved filters.
type CaseViews struct {
	Views []CaseView `json:"views"`
}

// CaseWhole: A case with its newest thousand alerts and history entries, notes, files, and questions to the
// customer.
type CaseWhole struct {
	ID           int64          `json:"id"`
	Tag          string         `json:"tag"`
	Entity       string         `json:"entity"`
	Key          string         `json:"key"`
	State        string         `json:"state"`
	Opened       string         `json:"opened"`
	Due          string         `json:"due"`
	LeftS        int64          `json:"left_s"`
	Assignee     *Person        `json:"assignee"`
	LockUntil    *string        `json:"lock_until"`
	SnoozedUntil *string        `json:"snoozed_until"`
	Outcome      *string        `json:"outcome"`
	Score        *float64       `json:"score"`
	Rule         *string        `json:"rule"`
	Reason       string         `json:"reason"`
	Stake        *Money         `json:"stake"`
	Customer     *string        `json:"customer"`
	Verdict      *string        `json:"verdict"`
	Closed       *string        `json:"closed"`
	ClosedBy     *Person        `json:"closed_by"`
	SecondLook   bool           `json:"second_look"`
	Disagreement bool           `json:"disagreement"`
	FirstVerdict *string        `json:"first_verdict"`
	Tags         []string       `json:"tags"`
	Checks       []CaseCheck    `json:"checks"`
	Queue        string         `json:"queue"`
	Alerts       []CaseAlert    `json:"alerts"`
	AlertCount   int64          `json:"alert_count"`
	Refunded     *Money         `json:"refunded"`
	Notes        []CaseLine     `json:"notes"`
	History      []CaseLine     `json:"history"`
	Files        []CaseFile     `json:"files"`
	Questions    []CaseQuestion `json:"questions"`
}

// CasesActed: The results for several cases, and the number that undoes all of them.
type CasesActed struct {
	Cases     []Case       `json:"cases"`
	Failed    []CaseFailed `json:"failed"`
	Undo      *int64       `json:"undo"`
	UndoUntil *string      `json:"undo_until"`
}

// CasesAction: Decide, claim or snooze several cases. Cases that cannot be changed are reported; the others
// are changed.
type CasesAction struct {
	Action  string    `json:"action"`
	Cases   []CaseTag `json:"cases"`
	Verdict *string   `json:"verdict,omitempty"`
	Reason  *string   `json:"reason,omitempty"`
	Until   *string   `json:"until,omitempty"`
}

// CasesOpen: Cases in the queue: those that can be worked on now. Snoozed ones are counted apart.
type CasesOpen struct {
	Open     int64   `json:"open"`
	Snoozed  int64   `json:"snoozed"`
	AtStake  *string `json:"at_stake"`
	FirstDue *string `json:"first_due"`
}

// CasesUndone: The updated cases, and those that another user has changed since.
type CasesUndone struct {
	Cases   []Case `json:"cases"`
	Changed []Case `json:"changed"`
}

// ChangeAsked: A change that waits for a second person. `rows` are to be put into a list and `out` to be
// taken out, as it was at the request; `more` counts those not shown. `ended` is empty, or the reason why it
// cannot be approved any more: what it was for has changed since.
type ChangeAsked struct {
	At      string   `json:"at"`
	By      string   `json:"by"`
	Ended   string   `json:"ended"`
	Etag    string   `json:"etag"`
	More    int64    `json:"more"`
	Out     []string `json:"out"`
	Rows    []Entry  `json:"rows"`
	Says    string   `json:"says"`
	Subject string   `json:"subject"`
}

// ChangeLine: The nearest value of one feature or field that would give another outcome. `until` is the
// farthest value of that range; None if it is open-ended.
type ChangeLine struct {
	Code    string `json:"code"`
	Value   any    `json:"value"`
	Until   any    `json:"until"`
	Now     any    `json:"now"`
	Outcome string `json:"outcome"`
	Text    string `json:"text"`
}

// ChangesStep: Make the project's files the active version, from the next event on.
type ChangesStep struct {
	Etag string `json:"etag"`
}

// CheapestThresholds: Their cost, and the curve. The ETag is that of policy.yaml.
type CheapestThresholds struct {
	Model               string         `json:"model"`
	Event               string         `json:"event"`
	ReviewAt            *float64       `json:"review_at"`
	DeclineAt           *float64       `json:"decline_at"`
	ExpectedCost        *string        `json:"expected_cost"`
	ExpectedCostLow     *string        `json:"expected_cost_low"`
	ExpectedCostHigh    *string        `json:"expected_cost_high"`
	Elsewhere           *OutOfFoldCost `json:"elsewhere"`
	ElsewhereWhyNot     string         `json:"elsewhere_why_not"`
	Drawn               string         `json:"drawn"`
	CostWithoutScore    *string        `json:"cost_without_score"`
	ReviewAtInterval    []any          `json:"review_at_interval"`
	DeclineAtInterval   []any          `json:"decline_at_interval"`
	Best                CostPoint      `json:"best"`
	Now                 *CostPoint     `json:"now"`
	Tried               *CostPoint     `json:"tried"`
	Curve               []CostPoint    `json:"curve"`
	ReviewsADay         *float64       `json:"reviews_a_day"`
	ReviewsByRules      float64        `json:"reviews_by_rules"`
	RulesBeyondPeople   bool           `json:"rules_beyond_people"`
	ReviewsBusiestDay   int64          `json:"reviews_busiest_day"`
	DaysOver            int64          `json:"days_over"`
	Days                int64          `json:"days"`
	Events              int64          `json:"events"`
	Frauds              int64          `json:"frauds"`
	Share               float64        `json:"share"`
	ChosenOnTheseEvents *bool          `json:"chosen_on_these_events,omitempty"`
	InForce             *bool          `json:"in_force,omitempty"`
	WhyNot              *string        `json:"why_not,omitempty"`
}

// CloseRuleFigures: A rule that closes cases: those of the past that it would have closed, and since its
// approval its sample. `state` says whether it is approved, stopped or new. `missed` are closed cases that
// labels call fraud.
type CloseRuleFigures struct {
	Name       string     `json:"name"`
	State      string     `json:"state"`
	Since      *string    `json:"since"`
	By         *string    `json:"by"`
	Past       KnownCases `json:"past"`
	FraudMoney string     `json:"fraud_money"`
	MayAct     bool       `json:"may_act"`
	Sample     KnownCases `json:"sample"`
	Closed     int64      `json:"closed"`
	Missed     int64      `json:"missed"`
}

// CloseRules: Rules that close cases, in their order; their past cases are those that opened in the last
// `days` days.
type CloseRules struct {
	Rules []CloseRuleFigures `json:"rules"`
	Days  int64              `json:"days"`
}

// ConflictingLabel: One label of an event with conflicting labels.
type ConflictingLabel struct {
	Verdict string `json:"verdict"`
	Source  string `json:"source"`
	KnownAt string `json:"known_at"`
	InForce bool   `json:"in_force"`
}

// CostPoint: Two thresholds and their results per day.
type CostPoint struct {
	ReviewAt          *float64 `json:"review_at"`
	DeclineAt         *float64 `json:"decline_at"`
	Cost              *string  `json:"cost"`
	MissedCost        *string  `json:"missed_cost"`
	FalseDeclinesCost *string  `json:"false_declines_cost"`
	Reviews           float64  `json:"reviews"`
	ReviewsCost       *string  `json:"reviews_cost"`
	FraudsStopped     float64  `json:"frauds_stopped"`
}

// Costs: Costs to write beside the thresholds; `missed` is a percentage of what policy.yaml says now.
type Costs struct {
	Missed       *float64 `json:"missed,omitempty"`
	FalseDecline *float64 `json:"false_decline,omitempty"`
	Review       *float64 `json:"review,omitempty"`
	ReviewsADay  *float64 `json:"reviews_a_day,omitempty"`
}

// CountQuestion: The counts to compute; days as `2026-03-01`, the last one included. All event types by
// default. `by` is `day`, `week` (of Monday to Sunday, cut at the ends), `source` or a field, whose values
// split each day. With `source` only events of that source count. Days are in `zone`, by default the
// project's.
type CountQuestion struct {
	StartDate  *string           `json:"startDate,omitempty"`
	EndDate    *string           `json:"endDate,omitempty"`
	EventTypes []string          `json:"eventTypes,omitempty"`
	By         *string           `json:"by,omitempty"`
	Zone       *string           `json:"zone,omitempty"`
	Zeros      *bool             `json:"zeros,omitempty"`
	Source     *string           `json:"source,omitempty"`
	Where      map[string]string `json:"where,omitempty"`
}

// CountRow: The number of events of a type on a day; a week is shown as its Monday. `value` is that of the
// field, null if missing.
type CountRow struct {
	Day   string  `json:"day"`
	Type  string  `json:"type"`
	Count int64   `json:"count"`
	Value *string `json:"value,omitempty"`
}

// CountRows: Counts by day, type and value, and their total.
type CountRows struct {
	Rows  []CountRow `json:"rows"`
	Total int64      `json:"total"`
}

// CountableType: An event type, whether it is decided, and the fields that `by` accepts.
type CountableType struct {
	Type    string   `json:"type"`
	Decided bool     `json:"decided"`
	Fields  []string `json:"fields"`
}

// CountableTypes: The event types of the project, and the sources by which events came.
type CountableTypes struct {
	Types   []CountableType `json:"types"`
	Sources []string        `json:"sources"`
}

// CustomerAnswers: Customers of the last seven days: `yes` and `no` are their labels, by mail or however they
// came; `asked_7d`, `no_answer` and `open` count questions by mail. `held` is of all their answers.
type CustomerAnswers struct {
	Asked7d  int64         `json:"asked_7d"`
	Yes      int64         `json:"yes"`
	No       int64         `json:"no"`
	NoAnswer int64         `json:"no_answer"`
	Open     int64         `json:"open"`
	Held     []HeldAnswers `json:"held"`
}

// Decision: A decision. `seq` is its sequence number, null if nothing was written. `experiments` are those
// that decided about it: their names are in `rules` (arm B) or `shadow_rules` (arm A) too, and are no rules.
// `answered` is the override: the outcome that the sender gave before this decision. `explanation` is present
// on request. Of a type with `money in` a currency, `original` is its amount as sent, and `amount` what it is
// in the project's currency by this `rate`. Both are null without a rate, which the `remark` says.
type Decision struct {
	Amount      *string           `json:"amount,omitempty"`
	Answered    *string           `json:"answered,omitempty"`
	AsOfSeq     int64             `json:"as_of_seq"`
	Currency    *string           `json:"currency,omitempty"`
	Event       string            `json:"event"`
	Experiments []ExperimentLine  `json:"experiments,omitempty"`
	Explanation *Explanation      `json:"explanation,omitempty"`
	Exploration *Drawn            `json:"exploration,omitempty"`
	Features    map[string]any    `json:"features"`
	ID          string            `json:"id"`
	Original    *string           `json:"original,omitempty"`
	Outcome     string            `json:"outcome"`
	Rate        *string           `json:"rate,omitempty"`
	Reasons     []Reason          `json:"reasons"`
	Receipt     string            `json:"receipt"`
	Remark      *string           `json:"remark,omitempty"`
	Rules       []string          `json:"rules"`
	Score       *float64          `json:"score"`
	Seq         *int64            `json:"seq"`
	ShadowRules []string          `json:"shadow_rules"`
	Versions    map[string]string `json:"versions"`
}

// DeclaredFunnel: A funnel of funnels.yaml: its user, its steps, and the field that splits it.
type DeclaredFunnel struct {
	Funnel string   `json:"funnel"`
	User   string   `json:"user"`
	Steps  []string `json:"steps"`
	Split  *string  `json:"split"`
}

// DeclaredFunnels: The funnels of funnels.yaml.
type DeclaredFunnels struct {
	Funnels []DeclaredFunnel `json:"funnels"`
}

// DeclineValue: What the score's declines are worth, by explored events, each weighted by 1 / its propensity.
// The precision is the share of frauds among declines, with its 95 % interval; `fraud_money` is that of these
// frauds.
type DeclineValue struct {
	Explored   int64    `json:"explored"`
	Precision  *float64 `json:"precision"`
	Low        *float64 `json:"low"`
	High       *float64 `json:"high"`
	FraudMoney string   `json:"fraud_money"`
}

// Deployment: The result of a change of the active models. `champion` and `before` are the champion's ids
// after and before the call, empty for none. `failed` are gates that prevent a promotion. `why_not` says why
// a written change is not active yet. `unused` says that the champion's score changes no decision, with the
// remedy.
type Deployment struct {
	Event    string       `json:"event"`
	Model    string       `json:"model"`
	What     string       `json:"what"`
	Champion *string      `json:"champion,omitempty"`
	Before   *string      `json:"before,omitempty"`
	Failed   []GateResult `json:"failed,omitempty"`
	InForce  *bool        `json:"in_force,omitempty"`
	WhyNot   *string      `json:"why_not,omitempty"`
	Unused   *string      `json:"unused,omitempty"`
}

// DisputeInput: A stage of a dispute as it is sent: `due` is the last moment of an answer, `dispute` the
// provider's id.
type DisputeInput struct {
	Event   string  `json:"event"`
	Stage   string  `json:"stage"`
	KnownAt string  `json:"known_at"`
	Due     *string `json:"due,omitempty"`
	Network *string `json:"network,omitempty"`
	Code    *string `json:"code,omitempty"`
	Dispute *string `json:"dispute,omitempty"`
	Reason  *string `json:"reason,omitempty"`
	Amount  *string `json:"amount,omitempty"`
	Verdict *string `json:"verdict,omitempty"`
}

// DisputeList: Disputes: those that can be answered first, the earliest due date first.
type DisputeList struct {
	Disputes []DisputeRow `json:"disputes"`
}

// DisputePage: A page of the `count` disputes that match, of which `late` can be answered and are past their
// due date.
type DisputePage struct {
	Disputes []DisputeRow `json:"disputes"`
	Count    int64        `json:"count"`
	Late     int64        `json:"late"`
	Next     *string      `json:"next"`
}

// DisputeRow: A dispute at its latest stage; `verdict` is that of its label. `eligible` says whether it meets
// Visa's Compelling Evidence 3.0, and `why`.
type DisputeRow struct {
	Event    string         `json:"event"`
	Stage    string         `json:"stage"`
	Due      *string        `json:"due"`
	Eligible bool           `json:"eligible"`
	Why      string         `json:"why"`
	KnownAt  string         `json:"known_at"`
	Verdict  string         `json:"verdict"`
	Network  *string        `json:"network"`
	Code     *string        `json:"code"`
	Dispute  *string        `json:"dispute"`
	Amount   *string        `json:"amount"`
	Pack     map[string]any `json:"pack,omitempty"`
	Files    []string       `json:"files,omitempty"`
}

// DisputesImported: Counts of the stages, as of labels, and the disputes that have new ones.
type DisputesImported struct {
	Disputes    []DisputeRow `json:"disputes"`
	Read        int64        `json:"read"`
	Appended    int64        `json:"appended"`
	Pending     int64        `json:"pending"`
	Duplicates  int64        `json:"duplicates"`
	Quarantined int64        `json:"quarantined"`
}

// DraftBody: A draft's text.
type DraftBody struct {
	Text string `json:"text"`
}

// DraftCheck: The result of checking a text: errors, warnings, tests, and its form. `more` counts those not
// listed.
type DraftCheck struct {
	Ok        bool             `json:"ok"`
	Etag      string           `json:"etag"`
	Mistakes  []DraftMistake   `json:"mistakes"`
	Elsewhere []string         `json:"elsewhere"`
	Warnings  []DraftMistake   `json:"warnings"`
	Says      *string          `json:"says"`
	Tests     []DraftTest      `json:"tests"`
	More      map[string]int64 `json:"more"`
	Text      *string          `json:"text,omitempty"`
	Form      *RuleForm        `json:"form,omitempty"`
}

// DraftCount: Hits of a text among the events of the last 30 days of the log, and their amount. Until it is
// `complete`, it is of the events from `since` on, and the same question counts more of them. Without `as_of`
// they could not be counted: `why_not` says why.
type DraftCount struct {
	AsOf     *string `json:"as_of,omitempty"`
	Since    *string `json:"since,omitempty"`
	Complete *bool   `json:"complete,omitempty"`
	Events   *int64  `json:"events,omitempty"`
	Hits     *int64  `json:"hits,omitempty"`
	Money    *string `json:"money,omitempty"`
	WhyNot   *string `json:"why_not,omitempty"`
}

// DraftMistake: An error or warning with its position in a text; `instead` is the suggested word, if known.
type DraftMistake struct {
	Line    int64   `json:"line"`
	Column  int64   `json:"column"`
	Length  int64   `json:"length"`
	Message string  `json:"message"`
	Hint    string  `json:"hint"`
	Instead *string `json:"instead"`
}

// DraftRule: Draft a rule from a sentence, check it, run its tests, count its hits and save it as a draft.
type DraftRule struct {
	Sentence string `json:"sentence"`
}

// DraftTest: The result of one test of a rule.
type DraftTest struct {
	Name    string  `json:"name"`
	Events  int64   `json:"events"`
	Passed  bool    `json:"passed"`
	Problem *string `json:"problem"`
}

// Drawn: The result of exploration for a decline by the score: `explored` says whether the event was
// approved. An approval, with `would_be` approve, has one if it is in the sample that analysts review.
type Drawn struct {
	Explored   bool    `json:"explored"`
	Propensity float64 `json:"propensity"`
	WouldBe    string  `json:"would_be"`
}

// DriftBin: A bin in words, and its shares of the reference and of the recent rows, in [0, 1].
type DriftBin struct {
	Says   string  `json:"says"`
	Before float64 `json:"before"`
	Now    float64 `json:"now"`
}

// DriftFigure: The drift of one item, for metrics.
type DriftFigure struct {
	Name          string     `json:"name"`
	Psi           float64    `json:"psi"`
	HasMoved      bool       `json:"has_moved"`
	MissingNow    float64    `json:"missing_now"`
	Unseen        float64    `json:"unseen"`
	IsUnclear     *bool      `json:"is_unclear,omitempty"`
	MissingBefore *float64   `json:"missing_before,omitempty"`
	Bins          []DriftBin `json:"bins,omitempty"`
}

// DriftLook: The last drift check of an event type; `reference` and `recent` describe the periods that it
// compared.
type DriftLook struct {
	LookedAt      string        `json:"looked_at"`
	AsOf          string        `json:"as_of"`
	Model         string        `json:"model"`
	ReferenceRows int64         `json:"reference_rows"`
	RecentRows    int64         `json:"recent_rows"`
	Limit         float64       `json:"limit"`
	Figures       []DriftFigure `json:"figures"`
	Reference     *string       `json:"reference,omitempty"`
	Recent        *string       `json:"recent,omitempty"`
}

// DropOffRow: A step on a day. Users dropped off by the end of the previous day are either recovered or still
// out.
type DropOffRow struct {
	Funnel           string  `json:"funnel"`
	Day              string  `json:"day"`
	Step             string  `json:"step"`
	DroppedOff       int64   `json:"dropped_off"`
	DroppedOffBefore int64   `json:"dropped_off_before"`
	Recovered        int64   `json:"recovered"`
	StillOut         int64   `json:"still_out"`
	Value            *string `json:"value,omitempty"`
}

// DroppedDraft: The rule whose draft was deleted.
type DroppedDraft struct {
	Dropped string `json:"dropped"`
}

// DroppedEntries: The number of dropped entries.
type DroppedEntries struct {
	Dropped int64 `json:"dropped"`
}

// EndExperiment: The experiment of policy.yaml, and whether all keys get the policy of arm B from now on;
// with a reason.
type EndExperiment struct {
	Rule    string  `json:"rule"`
	Reason  *string `json:"reason,omitempty"`
	Promote *bool   `json:"promote,omitempty"`
}

// EntityEvent: An event of a key. `features` are the features of its entity in that decision.
type EntityEvent struct {
	Event    string         `json:"event"`
	Features map[string]any `json:"features"`
	Fields   map[string]any `json:"fields"`
	ID       string         `json:"id"`
	Outcome  *string        `json:"outcome"`
	Rules    []string       `json:"rules"`
	Score    *float64       `json:"score"`
	Seq      int64          `json:"seq"`
	Time     string         `json:"time"`
}

// EntityKey: A key of an entity.
type EntityKey struct {
	Entity string `json:"entity"`
	Key    string `json:"key"`
}

// EntityKeys: Keys of an entity, those with the newest events first. All events behind `looked_to` were
// searched; 0 is all of the log. Continue there with `next`.
type EntityKeys struct {
	Entity   string      `json:"entity"`
	Keys     []ListedKey `json:"keys"`
	LookedTo int64       `json:"looked_to"`
	Next     *string     `json:"next"`
}

// EntityLinksAnswer: The values that a key shares with others at a moment. Each link has the other keys, and
// of the events with the value the number, the frauds, the money, the first and the last time. `hubs` are
// values that too many keys share to link any. `members` are the key and those that it is linked to. `ring`
// counts all that any number of steps reach, the key included, up to 1,000.
type EntityLinksAnswer struct {
	Entity  string      `json:"entity"`
	Key     string      `json:"key"`
	AsOf    string      `json:"as_of"`
	Links   []KeyLink   `json:"links"`
	Hubs    []Hub       `json:"hubs"`
	Members []LinkedKey `json:"members"`
	Ring    int64       `json:"ring"`
}

// EntityNeighbour: A related key: another key of the same entity, the keys that both share, and the number of
// events.
type EntityNeighbour struct {
	Events  int64       `json:"events"`
	Key     string      `json:"key"`
	Through []EntityKey `json:"through"`
}

// EntityView: One key of an entity: events, features, flags and neighbors. `left_out` are keys of other
// entities that link nobody, since more than 20 keys share them.
type EntityView struct {
	Entity     string            `json:"entity"`
	Features   map[string]any    `json:"features"`
	FeaturesOf *string           `json:"features_of"`
	Flags      []FlagShown       `json:"flags"`
	Key        string            `json:"key"`
	LeftOut    []EntityKey       `json:"left_out"`
	LookedTo   int64             `json:"looked_to"`
	Neighbours []EntityNeighbour `json:"neighbours"`
	Next       *string           `json:"next"`
	Timeline   []EntityEvent     `json:"timeline"`
}

// Entry: One line of a list, as written.
type Entry struct {
	Value     string  `json:"value"`
	Note      *string `json:"note,omitempty"`
	AddedBy   *string `json:"added_by,omitempty"`
	ExpiresAt *string `json:"expires_at,omitempty"`
}

// EventsWithoutLabel: The number of decided events without a label, `days` old or older, up to the `days` of
// the next row.
type EventsWithoutLabel struct {
	Days   int64 `json:"days"`
	Events int64 `json:"events"`
}

// Experiment: Two random groups of keys: arm B, for which the rule takes effect, and arm A. `saved` is what
// arm B saves of 1,000 keys for which the rule was true, with its 95 % confidence interval. All events so far
// are mature, and count, from the day `mature_from` on.
type Experiment struct {
	Rule       string          `json:"rule"`
	Arms       []ExperimentArm `json:"arms"`
	Saved      string          `json:"saved"`
	Low        string          `json:"low"`
	High       string          `json:"high"`
	MatureFrom string          `json:"mature_from"`
}

// ExperimentArm: Mature events of a group of keys at which the rule was true, and what 1,000 keys cost by the
// policy.
type ExperimentArm struct {
	Keys              int64              `json:"keys"`
	CostPer1000       string             `json:"cost_per_1000"`
	From              string             `json:"from"`
	To                string             `json:"to"`
	Value             *string            `json:"value,omitempty"`
	Events            int64              `json:"events"`
	Volume            string             `json:"volume"`
	Approved          int64              `json:"approved"`
	Challenged        int64              `json:"challenged"`
	Reviewed          int64              `json:"reviewed"`
	Declined          int64              `json:"declined"`
	Fraud             FraudFigures       `json:"fraud"`
	Caught            int64              `json:"caught"`
	Missed            int64              `json:"missed"`
	FalseDeclines     int64              `json:"false_declines"`
	UnlabeledDeclines int64              `json:"unlabeled_declines"`
	MoneySaved        string             `json:"money_saved"`
	ReviewFraudRate   *float64           `json:"review_fraud_rate"`
	DeclineRate       *OutcomeRate       `json:"decline_rate"`
	FalsePositiveRate *OutcomeRate       `json:"false_positive_rate"`
	Money             ResultMoney        `json:"money"`
	Mature            bool               `json:"mature"`
	Estimate          *FraudEstimate     `json:"estimate"`
	Change            map[string]float64 `json:"change,omitempty"`
}

// ExperimentLine: An experiment of policy.yaml and the arm of this event's key: A, or B, which the experiment
// changes.
type ExperimentLine struct {
	Name string `json:"name"`
	Arm  string `json:"arm"`
}

// Explanation: The explanation that `explain` adds to a decision; `model` if one scored the event.
type Explanation struct {
	Features    []FeatureLine    `json:"features"`
	Rules       []RuleLine       `json:"rules"`
	Model       *ModelPart       `json:"model,omitempty"`
	Experiments []ExperimentLine `json:"experiments,omitempty"`
}

// FactorlessUser: A user without a second factor.
type FactorlessUser struct {
	User UserDocument `json:"user"`
}

// FactsDocument: The features of a key at a point in time. `events` is the number of events and labels of the
// key up to then, 0 for a key that the log never saw. `left_out` names features without a value between
// events, with the reason.
type FactsDocument struct {
	Entity   string            `json:"entity"`
	Key      string            `json:"key"`
	AsOf     string            `json:"as_of"`
	Events   int64             `json:"events"`
	Features map[string]any    `json:"features"`
	LeftOut  map[string]string `json:"left_out"`
}

// FeatureLine: One feature of a decision. `key` is None if the event has no key of the entity.
type FeatureLine struct {
	Name       string  `json:"name"`
	Definition string  `json:"definition"`
	Entity     string  `json:"entity"`
	Key        *string `json:"key"`
	Value      any     `json:"value"`
	Earlier    *Usual  `json:"earlier"`
}

// FeatureProfile: A feature and its values at the newest decided events. `missing` is a share in [0, 1], None
// without events. `low`, `median` and `high` are at 5, 50 and 95 % of the values that are there, in words;
// `bins` count the values in equal steps from `low` to `high`, those beyond at the ends. `frequent` has the
// most frequent values of a text with their shares.
type FeatureProfile struct {
	Name       string   `json:"name"`
	Words      string   `json:"words"`
	Expression string   `json:"expression"`
	Type       string   `json:"type"`
	Cost       string   `json:"cost"`
	ReadBy     []string `json:"read_by"`
	Missing    *float64 `json:"missing"`
	Distinct   int64    `json:"distinct"`
	Low        string   `json:"low"`
	Median     string   `json:"median"`
	High       string   `json:"high"`
	Bins       []int64  `json:"bins"`
	Frequent   [][]any  `json:"frequent"`
}

// FeatureProfiles: The features that decisions of a type show, by name; `tried` is the expression that was
// asked for.
type FeatureProfiles struct {
	Event    string           `json:"event"`
	Events   int64            `json:"events"`
	Features []FeatureProfile `json:"features"`
	Tried    *FeatureProfile  `json:"tried,omitempty"`
}

// FileChange: A file or setting whose current content is not active. `takes` is `now` for changes that can be
// applied to a running service, else `restart`; `difference` is a unified diff of the texts, where both are
// known; of a table the number of rows added, changed and gone, and these rows.
type FileChange struct {
	File       string   `json:"file"`
	Change     string   `json:"change"`
	Takes      string   `json:"takes"`
	Difference []string `json:"difference"`
}

// FileChanges: Changes that are only in files; `etag` identifies them.
type FileChanges struct {
	Changes []FileChange `json:"changes"`
	Etag    string       `json:"etag"`
}

// Finding: One check. `state` is ok, note or wrong; `cure` is the remedy.
type Finding struct {
	Subject string  `json:"subject"`
	State   string  `json:"state"`
	Words   string  `json:"words"`
	Cure    *string `json:"cure,omitempty"`
}

// FiringAlert: An alert of Prometheus that fires now; null for what it does not say.
type FiringAlert struct {
	Name       string  `json:"name"`
	Severity   *string `json:"severity"`
	Summary    *string `json:"summary"`
	Instance   *string `json:"instance"`
	RunbookURL *string `json:"runbook_url"`
	Since      string  `json:"since"`
}

// FlagJudgement: The verdict on a flag.
type FlagJudgement struct {
	Accuracy string  `json:"accuracy"`
	Reason   *string `json:"reason,omitempty"`
}

// FlagShown: A flag with the fields of its event (null once the event has left the log after `keep`). `also`
// are the other flags of that event: a label is of the event, so it judges them all.
type FlagShown struct {
	Accuracy string         `json:"accuracy"`
	Also     []string       `json:"also"`
	Created  string         `json:"created"`
	Entity   string         `json:"entity"`
	Event    string         `json:"event"`
	Fields   map[string]any `json:"fields"`
	ID       string         `json:"id"`
	Key      string         `json:"key"`
	Reason   string         `json:"reason"`
	Rule     string         `json:"rule"`
	Seq      int64          `json:"seq"`
	Time     string         `json:"time"`
	Updated  string         `json:"updated"`
}

// Flags: A page of flags, the newest first.
type Flags struct {
	Flags []FlagShown `json:"flags"`
	Next  *string     `json:"next"`
}

// FoldThresholds: The thresholds with which one fold was evaluated.
type FoldThresholds struct {
	ReviewAt  *float64 `json:"review_at"`
	DeclineAt *float64 `json:"decline_at"`
	Cost      *string  `json:"cost"`
}

// FormBody: A draft's text, and a form whose values replace those of the text.
type FormBody struct {
	Text string    `json:"text"`
	Form *RuleForm `json:"form,omitempty"`
}

// FormRow: A condition. Without a comparison the operand is an expression shown as text.
type FormRow struct {
	Operand    string  `json:"operand"`
	Comparison *string `json:"comparison,omitempty"`
	Value      *string `json:"value,omitempty"`
}

// FraudEstimate: The 90 % interval of the fraud money of a row once all of it is known.
type FraudEstimate struct {
	Low  string `json:"low"`
	High string `json:"high"`
}

// FraudFigures: Known fraud: events, their money, and that money in basis points of the volume (null without
// volume).
type FraudFigures struct {
	Count       int64    `json:"count"`
	Money       string   `json:"money"`
	BasisPoints *float64 `json:"basis_points"`
}

// FunnelDays: The funnel, all by default, and the days: `2026-03-01`, the last one included; by default the
// three days up to yesterday. `split` is a field; by default that of the funnel, and none if empty. `zone` is
// by default the project's.
type FunnelDays struct {
	Funnel    *string `json:"funnel,omitempty"`
	StartDate *string `json:"startDate,omitempty"`
	EndDate   *string `json:"endDate,omitempty"`
	Zone      *string `json:"zone,omitempty"`
	Split     *string `json:"split,omitempty"`
}

// FunnelDocument: Funnels over some days: drop-off and recovery by day, users by step, and the same by day of
// the first step. `dropped_off` of a row counts from the first day to the end of its day.
type FunnelDocument struct {
	First string       `json:"first"`
	Last  string       `json:"last"`
	Zone  string       `json:"zone"`
	Rows  []DropOffRow `json:"rows"`
	Steps []StepRow    `json:"steps"`
	Trend []TrendRow   `json:"trend"`
}

// FunnelUsers: The users to list: `number` is such as `still_out:signed_up`, `day` the last one by default.
// `after` is `next` of the previous page.
type FunnelUsers struct {
	Funnel    string  `json:"funnel"`
	Number    string  `json:"number"`
	Day       *string `json:"day,omitempty"`
	StartDate *string `json:"startDate,omitempty"`
	EndDate   *string `json:"endDate,omitempty"`
	Zone      *string `json:"zone,omitempty"`
	Limit     *int64  `json:"limit,omitempty"`
	After     *string `json:"after,omitempty"`
}

// GateResult: The result of a gate: the value, its limit in words, and whether it passed. `note` describes
// the comparison.
type GateResult struct {
	Name   string   `json:"name"`
	Value  *float64 `json:"value"`
	Limit  string   `json:"limit"`
	Passed bool     `json:"passed"`
	Note   *string  `json:"note,omitempty"`
}

// GuardState: A guard with its newest finding: watching, waiting for labels, blind without any, stopped, or
// off.
type GuardState struct {
	Name  string `json:"name"`
	Guard string `json:"guard"`
	State string `json:"state"`
	Since string `json:"since"`
	Why   string `json:"why"`
}

// GuardStates: All guards that were ever looked at.
type GuardStates struct {
	Guards []GuardState `json:"guards"`
}

// Health: Findings of `doctor`, the sinks, the last drift check of each event type, and alerts that
// Alertmanager posted.
type Health struct {
	Alerts   []FiringAlert        `json:"alerts"`
	At       string               `json:"at"`
	Drift    map[string]DriftLook `json:"drift"`
	Findings []Finding            `json:"findings"`
	Ok       bool                 `json:"ok"`
	Ready    bool                 `json:"ready"`
	Sinks    []SinkHealth         `json:"sinks"`
	State    string               `json:"state"`
}

// HeldAnswers: Customers' answers with one verdict that a stronger source judged later, and how many of them
// it confirmed.
type HeldAnswers struct {
	Verdict string `json:"verdict"`
	Judged  int64  `json:"judged"`
	Held    int64  `json:"held"`
}

// HitRange: The typical range of a rule's hits per hour.
type HitRange struct {
	Low  int64 `json:"low"`
	High int64 `json:"high"`
}

// Hub: A value that more keys share than its cap allows: it links none of them.
type Hub struct {
	Via   string `json:"via"`
	Value any    `json:"value"`
	Keys  int64  `json:"keys"`
}

// ImportDisputes: Import stages of disputes, each as a label of the source 'chargeback'.
type ImportDisputes struct {
	Disputes []DisputeInput `json:"disputes,omitempty"`
}

// InputPart: The contribution of one input, where several use the same feature or field.
type InputPart struct {
	Input        string  `json:"input"`
	Contribution float64 `json:"contribution"`
}

// JobDocument: A job: its progress, its log, and its result once it is done. `step` is the current step,
// `done` of `total`; both are 0 if unknown. `due_at_ms` is a schedule's due time, even if the job ran later.
type JobDocument struct {
	ID        string         `json:"id"`
	URL       string         `json:"url"`
	Kind      string         `json:"kind"`
	Params    map[string]any `json:"params"`
	By        *string        `json:"by"`
	Schedule  *string        `json:"schedule"`
	State     string         `json:"state"`
	Attempt   int64          `json:"attempt"`
	DueAtMs   int64          `json:"due_at_ms"`
	BegunAtMs *int64         `json:"begun_at_ms"`
	EndedAtMs *int64         `json:"ended_at_ms"`
	Step      *string        `json:"step"`
	Done      int64          `json:"done"`
	Total     int64          `json:"total"`
	Log       []string       `json:"log"`
	Result    map[string]any `json:"result"`
	Why       *string        `json:"why"`
}

// JobKindDocument: A kind of job: its purpose, and the schema of its parameters.
type JobKindDocument struct {
	Kind    string         `json:"kind"`
	Meaning string         `json:"meaning"`
	Params  map[string]any `json:"params"`
}

// JobKinds: The kinds of jobs, each with the JSON Schema of its parameters.
type JobKinds struct {
	Kinds []JobKindDocument `json:"kinds"`
}

// JobList: Jobs, newest first, without logs and results; `next` is `before` of the next request if there may
// be more.
type JobList struct {
	Jobs []JobDocument `json:"jobs"`
	Next *string       `json:"next"`
}

// KeptMail: A mail of the built-in mailbox; a list leaves its texts out.
type KeptMail struct {
	Name    string  `json:"name"`
	Subject string  `json:"subject"`
	From    string  `json:"from"`
	To      string  `json:"to"`
	At      string  `json:"at"`
	Text    *string `json:"text,omitempty"`
	Html    *string `json:"html,omitempty"`
}

// KeyAtMoment: The key and the time; by default all features of the entity at the time of the newest event.
// Times are as `2026-03-01T12:00:00Z`, or a day. `since` is a time for all features, or one for each by its
// name.
type KeyAtMoment struct {
	Entity   string   `json:"entity"`
	Key      string   `json:"key"`
	AsOf     *string  `json:"as_of,omitempty"`
	Seq      *int64   `json:"seq,omitempty"`
	KnownAt  *string  `json:"known_at,omitempty"`
	Features []string `json:"features,omitempty"`
	Since    any      `json:"since,omitempty"`
}

// KeyDocument: An API key, without its secret text.
type KeyDocument struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Role      string   `json:"role"`
	Scopes    []string `json:"scopes"`
	MadeAt    string   `json:"made_at"`
	MadeBy    string   `json:"made_by"`
	ExpiresAt *string  `json:"expires_at"`
	RevokedAt *string  `json:"revoked_at"`
	UsedAt    *string  `json:"used_at"`
}

// KeyLink: A value that a key shares: the other keys that have it, and what is known of the events with it.
// `step` is 1 where the key has the value itself, else how many values lie between, this one included.
type KeyLink struct {
	Via    string   `json:"via"`
	Value  any      `json:"value"`
	Keys   []string `json:"keys"`
	Frauds int64    `json:"frauds"`
	Spent  *string  `json:"spent"`
	Events int64    `json:"events"`
	First  string   `json:"first"`
	Last   string   `json:"last"`
	Step   int64    `json:"step"`
}

// Keys: Keys without their text, revoked ones included.
type Keys struct {
	Keys []KeyDocument `json:"keys"`
}

// KnownCases: Cases of a rule: how many, how many of them people or labels call fraud or genuine, and how
// many fraud. `share` is that of fraud among the known ones.
type KnownCases struct {
	Cases  *int64       `json:"cases,omitempty"`
	Known  *int64       `json:"known,omitempty"`
	Frauds *int64       `json:"frauds,omitempty"`
	Share  *OutcomeRate `json:"share,omitempty"`
}

// Label: A label to record.
type Label struct {
	Amount  any     `json:"amount,omitempty"`
	Event   *string `json:"event,omitempty"`
	KnownAt any     `json:"known_at"`
	Reason  *string `json:"reason,omitempty"`
	Source  *string `json:"source,omitempty"`
	Verdict string  `json:"verdict"`
}

// LabelConflict: An event with conflicting labels.
type LabelConflict struct {
	Event  string             `json:"event"`
	ID     string             `json:"id"`
	Kind   string             `json:"kind"`
	Labels []ConflictingLabel `json:"labels"`
}

// LabelInForce: The current label of an event.
type LabelInForce struct {
	Source  string `json:"source"`
	Verdict string `json:"verdict"`
}

// LabelMaturity: Label delay: the time until frauds become known.
type LabelMaturity struct {
	Frauds   int64           `json:"frauds"`
	TooYoung int64           `json:"too_young"`
	Later    int64           `json:"later"`
	Curve    []MaturityPoint `json:"curve"`
}

// Labelled: The result of recording a label.
type Labelled struct {
	InForce *LabelInForce `json:"in_force,omitempty"`
	Label   string        `json:"label"`
	Seq     *int64        `json:"seq"`
	State   string        `json:"state"`
}

// LabelsOfSource: The number of labels of a source, by verdict.
type LabelsOfSource struct {
	Source   string           `json:"source"`
	Verdicts map[string]int64 `json:"verdicts"`
	Newest   *string          `json:"newest"`
}

// LabelsTogether: Statistics of all labels of the log, from `counted_from` to `counted_to`.
type LabelsTogether struct {
	CountedFrom     int64                `json:"counted_from"`
	CountedTo       int64                `json:"counted_to"`
	Events          int64                `json:"events"`
	InForce         map[string]int64     `json:"in_force"`
	Came            []LabelsOfSource     `json:"came"`
	Conflicts       int64                `json:"conflicts"`
	NewestConflicts []LabelConflict      `json:"newest_conflicts"`
	Maturity        LabelMaturity        `json:"maturity"`
	Waiting         int64                `json:"waiting"`
	WithoutLabel    []EventsWithoutLabel `json:"without_label"`
	Customers       CustomerAnswers      `json:"customers"`
}

// LawProved: The answer about a law: proved, refuted or unknown. `events` end with the one that breaks it.
type LawProved struct {
	ID       string          `json:"id"`
	Sentence string          `json:"sentence"`
	Required bool            `json:"required"`
	Answer   string          `json:"answer"`
	Reason   string          `json:"reason"`
	Events   []RuleTestEvent `json:"events"`
}

// LawsProved: The answers about laws, in the order of the files.
type LawsProved struct {
	Laws []LawProved `json:"laws"`
}

// LetterPage: A page of letters, the number of pending notices, and what blocks all sending.
type LetterPage struct {
	Waiting int64         `json:"waiting"`
	Trouble *string       `json:"trouble"`
	Next    *string       `json:"next"`
	Letters []LetterShown `json:"letters"`
}

// LetterShown: A message in the outbox, with its recipient masked as needed.
type LetterShown struct {
	ID       string  `json:"id"`
	Notice   string  `json:"notice"`
	Rule     *string `json:"rule"`
	To       string  `json:"to"`
	State    string  `json:"state"`
	Attempts int64   `json:"attempts"`
	Made     string  `json:"made"`
	Due      *string `json:"due"`
	Done     *string `json:"done"`
	Reason   *string `json:"reason"`
}

// LinkReasons: Make a link for the customer to a page with the reasons of a decision, where they can say that
// it is wrong.
type LinkReasons struct {
	Event string `json:"event"`
}

// LinkedKey: A key that is linked, over so many steps; its events in the window, and the outcome of the
// newest decision.
type LinkedKey struct {
	Key     string  `json:"key"`
	Step    int64   `json:"step"`
	Events  int64   `json:"events"`
	Frauds  int64   `json:"frauds"`
	Spent   *string `json:"spent"`
	Outcome string  `json:"outcome"`
}

// ListApproval: Approve, as the second person, a requested change of a list.
type ListApproval struct {
	Etag string `json:"etag"`
}

// ListChange: Result of a list change: numbers of entries, and whether the next event is decided by it.
// `why_not` says what that waits for. `what` is ADDED, CHANGED, REMOVED or SAME; `value` is the value that
// one entry stands for, hashed where the list is compared with a hashed field. `others` are files that were
// changed before and became active with it. `expired` is the end of a new entry where that is over.
// `repeated` counts sent lines that a later line of the same value replaced.
type ListChange struct {
	List     string   `json:"list"`
	Added    int64    `json:"added"`
	Changed  int64    `json:"changed"`
	Removed  int64    `json:"removed"`
	InForce  bool     `json:"in_force"`
	WhyNot   *string  `json:"why_not"`
	What     string   `json:"what"`
	Value    *string  `json:"value,omitempty"`
	Entries  *int64   `json:"entries,omitempty"`
	Others   []string `json:"others,omitempty"`
	Expired  *string  `json:"expired,omitempty"`
	Repeated *int64   `json:"repeated,omitempty"`
}

// ListEntries: The entries of a list, in the order of its file, and its changes that wait for a second
// person.
type ListEntries struct {
	Name    string        `json:"name"`
	Etag    string        `json:"etag"`
	Entries []Entry       `json:"entries"`
	Asked   []ChangeAsked `json:"asked"`
}

// ListSheet: Entries as CSV. With `is_whole`, all other entries of the list are removed.
type ListSheet struct {
	CSV     string `json:"csv"`
	IsWhole *bool  `json:"is_whole,omitempty"`
}

// ListSummary: A list in an overview: its number of entries, and the features and rules that read it.
type ListSummary struct {
	Name    string   `json:"name"`
	Entries int64    `json:"entries"`
	ReadBy  []string `json:"read_by"`
}

// ListedKey: A key with its newest event. `flagged` has the newest events at which rules flagged it, at most
// 20.
type ListedKey struct {
	Key     string   `json:"key"`
	Name    string   `json:"name"`
	Event   string   `json:"event"`
	Time    string   `json:"time"`
	About   string   `json:"about"`
	Outcome *string  `json:"outcome"`
	Score   *float64 `json:"score"`
	Rules   []string `json:"rules"`
	Flagged []string `json:"flagged"`
}

// ListedModel: A model of the registry with its role: champion, challenger, shadow, before, or none.
// `redefined` names the inputs of one that scores which mean something else now than when it was trained;
// `unused` says of a champion that its score changes no decision, with the cure. `unwaived` are the failed
// gates, by name, that no promotion waived.
type ListedModel struct {
	ID        string   `json:"id"`
	Digest    *string  `json:"digest,omitempty"`
	Event     *string  `json:"event,omitempty"`
	Learner   *string  `json:"learner,omitempty"`
	MadeAt    *string  `json:"made_at,omitempty"`
	Failed    []string `json:"failed,omitempty"`
	Problem   *string  `json:"problem,omitempty"`
	IsJudged  *bool    `json:"is_judged,omitempty"`
	Damaged   []string `json:"damaged,omitempty"`
	Role      *string  `json:"role,omitempty"`
	Redefined []string `json:"redefined,omitempty"`
	Unused    *string  `json:"unused,omitempty"`
	Unwaived  []string `json:"unwaived,omitempty"`
}

// Lists: All lists, with the rules and features that read each.
type Lists struct {
	Lists []ListSummary `json:"lists"`
}

// Live: Live figures of a period; `cases` for those who may read cases.
type Live struct {
	Period          string                  `json:"period"`
	From            string                  `json:"from"`
	To              string                  `json:"to"`
	CountedFrom     int64                   `json:"counted_from"`
	IsWhole         bool                    `json:"is_whole"`
	Came            int64                   `json:"came"`
	Decided         int64                   `json:"decided"`
	ByOutcome       map[string]OutcomeCount `json:"by_outcome"`
	Verdicts        map[string]int64        `json:"verdicts"`
	Steps           []LiveStep              `json:"steps"`
	Rules           []RuleHitCount          `json:"rules"`
	AnswerMs        map[string]*float64     `json:"answer_ms"`
	AnswerMsEver    map[string]*float64     `json:"answer_ms_ever"`
	EventsPerSecond float64                 `json:"events_per_second"`
	Waiting         int64                   `json:"waiting"`
	WaitingAgeS     float64                 `json:"waiting_age_s"`
	Quarantined     int64                   `json:"quarantined"`
	LabelsWaiting   int64                   `json:"labels_waiting"`
	Outbox          int64                   `json:"outbox"`
	OutboxStuck     int64                   `json:"outbox_stuck"`
	OutboxFailing   []string                `json:"outbox_failing"`
	Cases           *CasesOpen              `json:"cases,omitempty"`
}

// LiveStep: A step of the period.
type LiveStep struct {
	From        string `json:"from"`
	Decided     int64  `json:"decided"`
	NotApproved int64  `json:"not_approved"`
}

// Liveness: The process responds.
type Liveness struct {
	Live bool `json:"live"`
}

// LookUpTables: All tables of the project.
type LookUpTables struct {
	Tables []TableSummary `json:"tables"`
}

// LookUpVersion: A version of a table in the log; `by` applied the files, and is empty where the next event
// took them up.
type LookUpVersion struct {
	Seq int64  `json:"seq"`
	At  string `json:"at"`
	By  string `json:"by"`
}

// MailPreview: Subject, plain text and HTML.
type MailPreview struct {
	Subject string `json:"subject"`
	Text    string `json:"text"`
	Html    string `json:"html"`
}

// Mailbox: The newest mails of the built-in mailbox, without their texts.
type Mailbox struct {
	Mails []KeptMail `json:"mails"`
}

// MaturityPoint: The share of frauds known after a number of days.
type MaturityPoint struct {
	Days     int64              `json:"days"`
	Share    float64            `json:"share"`
	BySource map[string]float64 `json:"by_source"`
}

// MissedFraudRate: Fraud among approvals by the sample of them, reported or not. Of `sampled` approvals
// `reviewed` have an answer. The rate is the share of frauds among all approvals, with its 95 % confidence
// interval; null before the first answer. `fraud_money` is that of these frauds. `uncovered` approvals of the
// sample are in groups of one probability without any answer: rate and money leave the events of these out.
type MissedFraudRate struct {
	Sampled    int64    `json:"sampled"`
	Reviewed   int64    `json:"reviewed"`
	Uncovered  int64    `json:"uncovered"`
	Frauds     int64    `json:"frauds"`
	Rate       *float64 `json:"rate"`
	Low        *float64 `json:"low"`
	High       *float64 `json:"high"`
	FraudMoney string   `json:"fraud_money"`
}

// Mistake: An error: for input its path and `detail`; for the project's files the position, a message and a
// hint.
type Mistake struct {
	Column  *int64  `json:"column,omitempty"`
	Detail  *string `json:"detail,omitempty"`
	File    *string `json:"file,omitempty"`
	Hint    *string `json:"hint,omitempty"`
	Line    *int64  `json:"line,omitempty"`
	Message *string `json:"message,omitempty"`
	Path    string  `json:"path"`
}

// Model: One model with all its details.
type Model struct {
	ID         string            `json:"id"`
	Event      string            `json:"event"`
	Role       string            `json:"role"`
	Digest     string            `json:"digest"`
	Gates      []GateResult      `json:"gates"`
	Metrics    map[string]any    `json:"metrics"`
	Promotions []PromotionRecord `json:"promotions"`
	Manifest   map[string]any    `json:"manifest"`
	Files      []string          `json:"files"`
	Damaged    map[string]string `json:"damaged"`
	Redefined  []string          `json:"redefined"`
}

// ModelChange: A change of a model: `promote`, `shadow`, `unshadow` or `rollback`, and the reason. `waive`
// lists gates to waive, each by metric and limit. With `champion`, empty for none, a model is promoted only
// if that is still the champion.
type ModelChange struct {
	Do       string   `json:"do"`
	Reason   string   `json:"reason"`
	Waive    []string `json:"waive,omitempty"`
	Champion *string  `json:"champion,omitempty"`
}

// ModelPart: The model's part of the decision, and the changes that would give another outcome. `base` is the
// mean margin; it and the contributions sum to `margin`, within 1e-5 of the sum of their sizes plus half a
// millionth for each. If `problem` is set, only the score is available; the numbers are None. `gives` is the
// scale: log-odds, or for a forest a probability before calibration.
type ModelPart struct {
	Model   string       `json:"model"`
	Score   *float64     `json:"score"`
	Margin  *float64     `json:"margin"`
	Base    *float64     `json:"base"`
	Policy  PolicyLine   `json:"policy"`
	Changes []ChangeLine `json:"changes"`
	Note    string       `json:"note"`
	Problem string       `json:"problem"`
	Gives   *string      `json:"gives,omitempty"`
}

// Models: The models of the registry with their current state, newest first.
type Models struct {
	Models []ListedModel `json:"models"`
}

// Money: An amount with its currency.
type Money struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

// Name: A name that an expression can use.
type Name struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Says string `json:"says"`
}

// Names: Each name with its meaning.
type Names struct {
	Names   []Name    `json:"names"`
	Keys    []RuleKey `json:"keys"`
	Effects []string  `json:"effects"`
}

// NewCutoffs: The new thresholds, null for none, the reason, and other costs to save in the same change. They
// are written where policy.yaml still has the text that `tag` stands for.
type NewCutoffs struct {
	Reason    string   `json:"reason"`
	ReviewAt  *float64 `json:"review_at,omitempty"`
	DeclineAt *float64 `json:"decline_at,omitempty"`
	Costs     *Costs   `json:"costs,omitempty"`
}

// NewJob: A kind of job and its parameters, as listed by `GET /api/v1/jobs/kinds`. `timeout_s` is the time
// limit of a run.
type NewJob struct {
	Kind     string         `json:"kind"`
	Params   map[string]any `json:"params,omitempty"`
	TimeoutS *int64         `json:"timeout_s,omitempty"`
	Retries  *int64         `json:"retries,omitempty"`
}

// NewKey: Create an API key and show it, this one time. It has at most the rights of its creator.
type NewKey struct {
	Name    string   `json:"name"`
	Role    string   `json:"role"`
	Expires *string  `json:"expires,omitempty"`
	Scopes  []string `json:"scopes,omitempty"`
}

// NewKeyAnswer: The key with its secret text, which is shown only once.
type NewKeyAnswer struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Role      string   `json:"role"`
	Scopes    []string `json:"scopes"`
	MadeAt    string   `json:"made_at"`
	MadeBy    string   `json:"made_by"`
	ExpiresAt *string  `json:"expires_at"`
	RevokedAt *string  `json:"revoked_at"`
	UsedAt    *string  `json:"used_at"`
	Key       string   `json:"key"`
}

// NewListEntry: A new entry; its author is the caller.
type NewListEntry struct {
	Value     string  `json:"value"`
	Note      *string `json:"note,omitempty"`
	ExpiresAt *string `json:"expires_at,omitempty"`
}

// NewRuleFile: Replace the text of a rule file: it is checked with its tests, written, and made active.
type NewRuleFile struct {
	Text string `json:"text"`
}

// NewUser: Add a user. Without a password, the output has a one-time link to set one, valid for three days.
type NewUser struct {
	Name        string  `json:"name"`
	Role        string  `json:"role"`
	DisplayName *string `json:"display_name,omitempty"`
	Email       *string `json:"email,omitempty"`
}

// NewUserAnswer: The user, and a one-time link to set the password, valid for three days; null if a password
// was given.
type NewUserAnswer struct {
	User UserDocument `json:"user"`
	Link *string      `json:"link"`
	URL  *string      `json:"url"`
}

// NoticeShown: A notice, without secrets and recipients' addresses.
type NoticeShown struct {
	Name          string   `json:"name"`
	On            string   `json:"on"`
	Event         *string  `json:"event"`
	Channel       string   `json:"channel"`
	To            *string  `json:"to"`
	Asks          bool     `json:"asks"`
	DigestS       *float64 `json:"digest_s"`
	HasQuietHours bool     `json:"has_quiet_hours"`
	Verbose       bool     `json:"verbose"`
}

// NoticeTest: Send the mail of a notice to an address, marked as a test. Exit status 1 if it is refused.
type NoticeTest struct {
	To    string  `json:"to"`
	Event *string `json:"event,omitempty"`
	Day   *string `json:"day,omitempty"`
}

// Notices: The notices of the project.
type Notices struct {
	Notices []NoticeShown `json:"notices"`
}

// OutOfFoldCost: The out-of-fold estimate: the cost of such thresholds on events that were not used to choose
// them.
type OutOfFoldCost struct {
	Cost          *string          `json:"cost"`
	Low           *string          `json:"low"`
	High          *string          `json:"high"`
	Reviews       float64          `json:"reviews"`
	FraudsStopped float64          `json:"frauds_stopped"`
	Folds         []FoldThresholds `json:"folds"`
}

// OutcomeCount: The number of decisions with one outcome.
type OutcomeCount struct {
	Count int64   `json:"count"`
	Money *string `json:"money"`
}

// OutcomeRate: A share of events with its 95 % confidence interval (Wilson).
type OutcomeRate struct {
	Share float64 `json:"share"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Person: A user by id and name.
type Person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// PolicyLine: The policy step: rules and score to outcome; thresholds are None if policy.yaml has none.
type PolicyLine struct {
	ReviewAt  *float64 `json:"review_at"`
	DeclineAt *float64 `json:"decline_at"`
	ByRules   string   `json:"by_rules"`
	ByScore   string   `json:"by_score"`
	Text      string   `json:"text"`
}

// PostedAlert: One alert of a webhook of Alertmanager; fields that are not used here are ignored.
type PostedAlert struct {
	Status      string            `json:"status"`
	Fingerprint string            `json:"fingerprint"`
	StartsAt    string            `json:"startsAt"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// PostedAlerts: A webhook of Alertmanager, format version 4.
type PostedAlerts struct {
	Alerts []PostedAlert `json:"alerts"`
}

// Problem: A problem document (RFC 9457). `type` is stable, for programs. `ready` and `state` come from a
// service that accepts no events. `by`, `at`, `state`, `verdict`, `tag` and `saved` describe a case that
// another user changed first. `instance` refers to a failure in the service's own log; `url` to a conflicting
// job.
type Problem struct {
	At       *string   `json:"at,omitempty"`
	By       *string   `json:"by,omitempty"`
	Detail   string    `json:"detail"`
	Errors   []Mistake `json:"errors,omitempty"`
	Instance *string   `json:"instance,omitempty"`
	Ready    *bool     `json:"ready,omitempty"`
	Saved    *bool     `json:"saved,omitempty"`
	State    *string   `json:"state,omitempty"`
	Status   int64     `json:"status"`
	Tag      *string   `json:"tag,omitempty"`
	Title    string    `json:"title"`
	Type     string    `json:"type"`
	URL      *string   `json:"url,omitempty"`
	Verdict  *string   `json:"verdict,omitempty"`
}

// PromotionRecord: A promotion to champion: when, by whom, and the waived gates.
type PromotionRecord struct {
	ID     string   `json:"id"`
	Digest string   `json:"digest"`
	At     *string  `json:"at,omitempty"`
	By     *string  `json:"by,omitempty"`
	Waived []Waiver `json:"waived,omitempty"`
}

// QuarantineEntry: A refused input. `place` is its line, `row` its number among the lines of data. `fixed_by`
// is the event that was accepted after the input was corrected and sent again, such as payment/p-1; of a
// label the event that got it. `raw` is null if it may contain personal data that the caller may not see, and
// `raw_base64` has bytes that are no text.
type QuarantineEntry struct {
	Number    int64   `json:"number"`
	Source    string  `json:"source"`
	Place     string  `json:"place"`
	Row       *int64  `json:"row"`
	Type      string  `json:"type"`
	Reason    string  `json:"reason"`
	At        string  `json:"at"`
	FixedBy   *string `json:"fixed_by,omitempty"`
	Raw       *string `json:"raw,omitempty"`
	RawBase64 *string `json:"raw_base64,omitempty"`
}

// QuarantineNumbers: Entries by their numbers; a request over HTTP names at least one.
type QuarantineNumbers struct {
	Numbers []int64 `json:"numbers"`
}

// QuarantinePage: Each entry with its reason. Its bytes are included unless they may contain personal data.
type QuarantinePage struct {
	Entries []QuarantineEntry `json:"entries"`
	Next    *string           `json:"next"`
}

// QuestionShown: A question to a customer, and the answer: nothing of its link, and not who was asked.
type QuestionShown struct {
	Notice   string  `json:"notice"`
	Event    string  `json:"event"`
	Asked    string  `json:"asked"`
	Until    string  `json:"until"`
	Answer   *string `json:"answer"`
	Answered *string `json:"answered"`
	Released bool    `json:"released"`
}

// Questions: The questions about one decision, oldest first.
type Questions struct {
	Questions []QuestionShown `json:"questions"`
}

// Readiness: Readiness: the state of the service, and if it accepts events.
type Readiness struct {
	Ready bool   `json:"ready"`
	State string `json:"state"`
}

// Reason: A reason of a decision. `code` is stable: a rule's id or a feature's name.
type Reason struct {
	Code         string      `json:"code"`
	Contribution *float64    `json:"contribution,omitempty"`
	Effect       *string     `json:"effect,omitempty"`
	Inputs       []InputPart `json:"inputs,omitempty"`
	Kind         string      `json:"kind"`
	Text         string      `json:"text"`
}

// ReasonsLink: The link, and until when it shows the reasons.
type ReasonsLink struct {
	Link  string `json:"link"`
	Until string `json:"until"`
}

// RemovedUser: The removed user.
type RemovedUser struct {
	User UserDocument `json:"user"`
}

// RemovedView: The name of the removed filter.
type RemovedView struct {
	Removed string `json:"removed"`
}

// Replay: A decision computed again; if it differs, both versions.
type Replay struct {
	Match    bool    `json:"match"`
	Receipt  string  `json:"receipt"`
	Event    string  `json:"event"`
	ID       string  `json:"id"`
	Recorded *string `json:"recorded,omitempty"`
	Computed *string `json:"computed,omitempty"`
}

// ReportBalance: Both sides, and the value of their difference with its 95 % confidence interval `low` to
// `high`. `net` is null, and there are no weeks, where no event has a label; `mature` events are older than
// the label delay.
type ReportBalance struct {
	Old      ReportSide   `json:"old"`
	New      ReportSide   `json:"new"`
	Net      *string      `json:"net"`
	Low      *string      `json:"low"`
	High     *string      `json:"high"`
	Days     int64        `json:"days"`
	Events   int64        `json:"events"`
	Mature   int64        `json:"mature"`
	Labelled int64        `json:"labelled"`
	Weeks    []ReportWeek `json:"weeks"`
}

// ReportCell: Events of one type with the same outcomes and label: their number and amount.
type ReportCell struct {
	Event    string `json:"event"`
	Old      string `json:"old"`
	New      string `json:"new"`
	Label    string `json:"label"`
	Immature bool   `json:"immature"`
	Count    int64  `json:"count"`
	Money    string `json:"money"`
}

// ReportCosts: Costs in policy.yaml: of a review and a false decline, null where event types differ; whether
// it names any.
type ReportCosts struct {
	Review       *string `json:"review"`
	FalseDecline *string `json:"false_decline"`
	Named        bool    `json:"named"`
}

// ReportExploration: Exploration of one event type; numbers of the events that these stand for are estimates.
// `immature` are younger than the label delay, `reviewed` a person was to look at first; `cost` is what those
// cost that are known as frauds so far and were not reviewed.
type ReportExploration struct {
	Event          string   `json:"event"`
	Explored       int64    `json:"explored"`
	Immature       int64    `json:"immature"`
	Unclear        int64    `json:"unclear"`
	Reviewed       int64    `json:"reviewed"`
	Known          int64    `json:"known"`
	Frauds         int64    `json:"frauds"`
	Precision      *float64 `json:"precision"`
	Low            *float64 `json:"low"`
	High           *float64 `json:"high"`
	Declines       float64  `json:"declines"`
	FraudsDeclined float64  `json:"frauds_declined"`
	Cost           string   `json:"cost"`
}

// ReportHits: Hits of a rule, and those older than the label delay by label, with their precision (95 %
// interval).
type ReportHits struct {
	Hits            int64    `json:"hits"`
	OlderFraud      int64    `json:"older_fraud"`
	OlderGenuine    int64    `json:"older_genuine"`
	OlderUnclear    int64    `json:"older_unclear"`
	OlderNone       int64    `json:"older_none"`
	Immature        int64    `json:"immature"`
	Precision       *float64 `json:"precision"`
	PrecisionLow    *float64 `json:"precision_low"`
	PrecisionHigh   *float64 `json:"precision_high"`
	Money           string   `json:"money"`
	OlderFraudMoney string   `json:"older_fraud_money"`
}

// ReportLearnt: Events before `until`, the end of the training data of the draft's models; `behind` are
// later. Of the `events`, the models were trained on some: on `rows`, where all of their training data is in
// the backtest.
type ReportLearnt struct {
	Models  []string      `json:"models"`
	NotTold []string      `json:"not_told"`
	Until   *string       `json:"until"`
	Rows    int64         `json:"rows"`
	Events  int64         `json:"events"`
	Behind  int64         `json:"behind"`
	Balance ReportBalance `json:"balance"`
}

// ReportRecorded: Recorded decisions that differ from those of the project without the draft: their number,
// and what changed.
type ReportRecorded struct {
	Differ  int64    `json:"differ"`
	Because []string `json:"because"`
}

// ReportRow: An event whose outcome changes.
type ReportRow struct {
	Event    string   `json:"event"`
	ID       string   `json:"id"`
	Seq      int64    `json:"seq"`
	Time     string   `json:"time"`
	Old      string   `json:"old"`
	New      string   `json:"new"`
	Label    string   `json:"label"`
	Immature bool     `json:"immature"`
	Money    string   `json:"money"`
	OldRules []string `json:"old_rules"`
	Rules    []string `json:"rules"`
}

// ReportRule: A rule of the draft: its hits, hits of this rule alone, and `old` hits without the draft.
type ReportRule struct {
	Hits            int64            `json:"hits"`
	OlderFraud      int64            `json:"older_fraud"`
	OlderGenuine    int64            `json:"older_genuine"`
	OlderUnclear    int64            `json:"older_unclear"`
	OlderNone       int64            `json:"older_none"`
	Immature        int64            `json:"immature"`
	Precision       *float64         `json:"precision"`
	PrecisionLow    *float64         `json:"precision_low"`
	PrecisionHigh   *float64         `json:"precision_high"`
	Money           string           `json:"money"`
	OlderFraudMoney string           `json:"older_fraud_money"`
	ID              string           `json:"id"`
	On              string           `json:"on"`
	Effect          string           `json:"effect"`
	Shadow          bool             `json:"shadow"`
	Kept            bool             `json:"kept"`
	Effective       int64            `json:"effective"`
	Only            ReportHits       `json:"only"`
	Overlap         map[string]int64 `json:"overlap"`
	Old             ReportHits       `json:"old"`
}

// ReportSide: Outcomes of mature events, without the draft or with it. A presumed false decline is a declined
// event that is not labeled fraud or unclear, so also one without a label.
type ReportSide struct {
	FraudsStopped         int64  `json:"frauds_stopped"`
	FraudMoneyStopped     string `json:"fraud_money_stopped"`
	Reviews               int64  `json:"reviews"`
	PresumedFalseDeclines int64  `json:"presumed_false_declines"`
}

// ReportWeek: The value of a draft in a week, from Monday or the first day on, and how many mature events
// that has.
type ReportWeek struct {
	Day    string `json:"day"`
	Net    string `json:"net"`
	Events int64  `json:"events"`
}

// ResultMoney: The money of the events that the counts of the same names count.
type ResultMoney struct {
	Approved      string `json:"approved"`
	Challenged    string `json:"challenged"`
	Reviewed      string `json:"reviewed"`
	Declined      string `json:"declined"`
	Caught        string `json:"caught"`
	Missed        string `json:"missed"`
	FalseDeclines string `json:"false_declines"`
}

// ResultRow: A period, or in all of it a rule, shadow hits included, or a value of the field (null where it
// is missing). Caught frauds are those that were not approved, missed ones those that were; false declines
// are declined events labeled genuine, null if no declined event has a label; `unlabeled_declines` are those
// without a label. `money_saved` is the money of caught frauds. The fraud rate of reviews is the share of
// frauds among reviewed events with a label; null without one. It is no precision of rules, of which events
// without a label count as genuine once they are mature. The decline rate is that of all events. The false
// positive rate is the share of events without a fraud label that were reviewed or declined, by rules or the
// score; null by rule. A row is mature when its events are older than the label delay and 99 % of frauds are
// known at that age. The estimate is null if too few frauds are known. `change` is that of figures since the
// days before, as many as these: 0.1 is a tenth more. It is empty where the log has not all of those days or
// the last day is still to come, and leaves out figures that were 0 or unknown. A day, week or month that is
// over is compared with the row above it if that is as long.
type ResultRow struct {
	From              string             `json:"from"`
	To                string             `json:"to"`
	Value             *string            `json:"value,omitempty"`
	Events            int64              `json:"events"`
	Volume            string             `json:"volume"`
	Approved          int64              `json:"approved"`
	Challenged        int64              `json:"challenged"`
	Reviewed          int64              `json:"reviewed"`
	Declined          int64              `json:"declined"`
	Fraud             FraudFigures       `json:"fraud"`
	Caught            int64              `json:"caught"`
	Missed            int64              `json:"missed"`
	FalseDeclines     int64              `json:"false_declines"`
	UnlabeledDeclines int64              `json:"unlabeled_declines"`
	MoneySaved        string             `json:"money_saved"`
	ReviewFraudRate   *float64           `json:"review_fraud_rate"`
	DeclineRate       *OutcomeRate       `json:"decline_rate"`
	FalsePositiveRate *OutcomeRate       `json:"false_positive_rate"`
	Money             ResultMoney        `json:"money"`
	Mature            bool               `json:"mature"`
	Estimate          *FraudEstimate     `json:"estimate"`
	Change            map[string]float64 `json:"change,omitempty"`
}

// Results: What fraud cost and what decisions did, with the total of all events; those of several rules count
// once. `before` is the total of as many days directly before these, null where there is no change.
// `review_hours` is the time from claim to decision of cases that were decided in these days, each at most as
// long as a claim locks it. `declines` is null where nothing was explored, `missed_fraud` where no approval
// was sampled; `programmes` has the ratios of card schemes in the month of the last day, by month in each;
// the nearest to its limit is first. `oldest` is the day of the oldest event where that lies before the days
// of the answer and no first day was asked for, else null.
type Results struct {
	AsOf        *string          `json:"as_of"`
	By          string           `json:"by"`
	Zone        string           `json:"zone"`
	Currency    string           `json:"currency"`
	Rows        []ResultRow      `json:"rows"`
	Total       *ResultRow       `json:"total"`
	Before      *ResultRow       `json:"before,omitempty"`
	ReviewHours *float64         `json:"review_hours,omitempty"`
	Declines    *DeclineValue    `json:"declines,omitempty"`
	MissedFraud *MissedFraudRate `json:"missed_fraud,omitempty"`
	Programmes  []SchemeRatio    `json:"programmes,omitempty"`
	Oldest      *string          `json:"oldest,omitempty"`
}

// RetriedEntries: The result for each entry.
type RetriedEntries struct {
	Read        int64          `json:"read"`
	Taken       int64          `json:"taken"`
	Quarantined int64          `json:"quarantined"`
	Entries     []RetriedEntry `json:"entries"`
}

// RetriedEntry: The result of one retried entry; `reason` says why it stays.
type RetriedEntry struct {
	Number  int64  `json:"number"`
	Source  string `json:"source"`
	Place   string `json:"place"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
}

// RevokedKey: The revoked key, and the names of keys that were made with it and are not revoked.
type RevokedKey struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Role      string   `json:"role"`
	Scopes    []string `json:"scopes"`
	MadeAt    string   `json:"made_at"`
	MadeBy    string   `json:"made_by"`
	ExpiresAt *string  `json:"expires_at"`
	RevokedAt *string  `json:"revoked_at"`
	UsedAt    *string  `json:"used_at"`
	Made      []string `json:"made"`
}

// RuleCounts: Statistics of a rule over the newest part of the log. `fraud` and `fraud_money` are of all hits
// labeled fraud; `older_*` are hits past the label delay, by label. The precision is the share of frauds
// among older hits that are not unclear; those without a label count as genuine. It is null without such
// hits, and if no event of that type has a label.
type RuleCounts struct {
	Hits          int64    `json:"hits"`
	InShadow      int64    `json:"in_shadow"`
	Fraud         int64    `json:"fraud"`
	OlderFraud    int64    `json:"older_fraud"`
	OlderGenuine  int64    `json:"older_genuine"`
	OlderUnclear  int64    `json:"older_unclear"`
	OlderNone     int64    `json:"older_none"`
	Immature      int64    `json:"immature"`
	Precision     *float64 `json:"precision"`
	PrecisionLow  *float64 `json:"precision_low"`
	PrecisionHigh *float64 `json:"precision_high"`
	Money         string   `json:"money"`
	FraudMoney    string   `json:"fraud_money"`
}

// RuleDraft: A draft of a rule.
type RuleDraft struct {
	Rule       string   `json:"rule"`
	Etag       string   `json:"etag"`
	Authors    []string `json:"authors"`
	SavedAt    string   `json:"saved_at"`
	ApprovedBy *string  `json:"approved_by"`
}

// RuleDraftChecked: A draft with its text, errors and warnings.
type RuleDraftChecked struct {
	Rule       string     `json:"rule"`
	Etag       string     `json:"etag"`
	Authors    []string   `json:"authors"`
	SavedAt    string     `json:"saved_at"`
	ApprovedBy *string    `json:"approved_by"`
	Text       string     `json:"text"`
	Check      DraftCheck `json:"check"`
}

// RuleDraftText: A draft with its text.
type RuleDraftText struct {
	Rule       string   `json:"rule"`
	Etag       string   `json:"etag"`
	Authors    []string `json:"authors"`
	SavedAt    string   `json:"saved_at"`
	ApprovedBy *string  `json:"approved_by"`
	Text       string   `json:"text"`
}

// RuleDrafts: All drafts, without their texts.
type RuleDrafts struct {
	Drafts []RuleDraft `json:"drafts"`
}

// RuleFileShown: A file of rules.
type RuleFileShown struct {
	File  string       `json:"file"`
	Etag  string       `json:"etag"`
	Rules []RuleOfFile `json:"rules"`
}

// RuleFileText: A file of rules with its text.
type RuleFileText struct {
	File  string       `json:"file"`
	Etag  string       `json:"etag"`
	Rules []RuleOfFile `json:"rules"`
	Text  string       `json:"text"`
}

// RuleFileWritten: The written rule file; `in_force` says whether it is active in the log yet.
type RuleFileWritten struct {
	File    string       `json:"file"`
	Etag    string       `json:"etag"`
	Rules   []RuleOfFile `json:"rules"`
	InForce bool         `json:"in_force"`
	WhyNot  *string      `json:"why_not"`
}

// RuleFiles: All files of rules.
type RuleFiles struct {
	Files []RuleFileShown `json:"files"`
}

// RuleForm: A rule as a form. Args: keys: Values of KEYS; empty for keys that the rule lacks. joined: `and`
// or `or` between the groups; the other word joins the rows of a group. groups: Rows by group; most groups
// have one. tests: Tests; None leaves them unchanged, as for a rule in braces.
type RuleForm struct {
	Keys   map[string]string `json:"keys"`
	Joined string            `json:"joined"`
	Groups [][]FormRow       `json:"groups"`
	Tests  []RuleTestForm    `json:"tests,omitempty"`
}

// RuleHit: An event that a rule hit. `shadow` says whether the rule was in shadow then.
type RuleHit struct {
	Event    string  `json:"event"`
	ID       string  `json:"id"`
	Seq      int64   `json:"seq"`
	Time     string  `json:"time"`
	Money    *string `json:"money"`
	Shadow   bool    `json:"shadow"`
	Verdict  *string `json:"verdict"`
	Immature bool    `json:"immature"`
}

// RuleHitCount: Statistics of a rule over the last hour.
type RuleHitCount struct {
	Rule    string    `json:"rule"`
	Hits1h  int64     `json:"hits_1h"`
	Shadow  bool      `json:"shadow"`
	Usual1h *HitRange `json:"usual_1h"`
	IsSpike bool      `json:"is_spike"`
}

// RuleHits: A page of hits, the newest first.
type RuleHits struct {
	Hits []RuleHit `json:"hits"`
	Next *string   `json:"next"`
}

// RuleKey: A key of a rule file.
type RuleKey struct {
	Name string `json:"name"`
	Says string `json:"says"`
}

// RuleLine: One rule that checked the event. `result`: hit, hit in shadow, or no hit; `condition`: as it is
// written.
type RuleLine struct {
	ID        string `json:"id"`
	Effect    string `json:"effect"`
	Result    string `json:"result"`
	Text      string `json:"text"`
	Condition string `json:"condition"`
}

// RuleOfFile: A rule and its statistics; `older_*` count hits past the label delay, by label.
type RuleOfFile struct {
	By            string   `json:"by"`
	Effect        string   `json:"effect"`
	Fraud         int64    `json:"fraud"`
	Hits          int64    `json:"hits"`
	ID            string   `json:"id"`
	Notify        *string  `json:"notify"`
	OlderFraud    int64    `json:"older_fraud"`
	OlderGenuine  int64    `json:"older_genuine"`
	OlderNone     int64    `json:"older_none"`
	On            string   `json:"on"`
	Precision     *float64 `json:"precision"`
	PrecisionHigh *float64 `json:"precision_high"`
	PrecisionLow  *float64 `json:"precision_low"`
	Rollout       float64  `json:"rollout"`
	Shadow        bool     `json:"shadow"`
	Tests         int64    `json:"tests"`
}

// RuleReturn: Restore a rule's version from a sequence number of the log; 0 removes the rule.
type RuleReturn struct {
	Seq    int64  `json:"seq"`
	Reason string `json:"reason"`
}

// RuleState: One rule and its statistics.
type RuleState struct {
	ID        string     `json:"id"`
	State     string     `json:"state"`
	File      *string    `json:"file"`
	Effect    *string    `json:"effect"`
	InForce   bool       `json:"in_force"`
	Trial     *string    `json:"trial"`
	Draft     *string    `json:"draft"`
	ChangedAt *string    `json:"changed_at"`
	Record    RuleCounts `json:"record"`
}

// RuleStates: All rules with their statistics since a time; removed ones come last.
type RuleStates struct {
	Since *string     `json:"since"`
	Rules []RuleState `json:"rules"`
}

// RuleTestEvent: An event of a test. Args: values: Text of each field; `at` is the time. hits: `true`,
// `false` or the row of a table that hits; empty for an event of another type than the rule's.
type RuleTestEvent struct {
	Type   string            `json:"type"`
	Values map[string]string `json:"values"`
	Hits   *string           `json:"hits,omitempty"`
}

// RuleTestForm: A test of a rule; without events it can only be edited as text.
type RuleTestForm struct {
	Name   string          `json:"name"`
	Events []RuleTestEvent `json:"events"`
}

// RuleVersion: The text of a rule from a sequence number of the log on; null if it was removed.
type RuleVersion struct {
	Seq    int64   `json:"seq"`
	Time   string  `json:"time"`
	File   string  `json:"file"`
	Text   *string `json:"text"`
	By     *string `json:"by"`
	Reason *string `json:"reason"`
}

// RuleVersions: All versions of a rule, newest first; the text is null if the rule was removed.
type RuleVersions struct {
	Versions []RuleVersion `json:"versions"`
}

// RuleWhole: One rule with its text, and its changes that wait for a second person.
type RuleWhole struct {
	ID        string        `json:"id"`
	State     string        `json:"state"`
	File      *string       `json:"file"`
	Effect    *string       `json:"effect"`
	InForce   bool          `json:"in_force"`
	Trial     *string       `json:"trial"`
	Draft     *string       `json:"draft"`
	ChangedAt *string       `json:"changed_at"`
	Record    RuleCounts    `json:"record"`
	Text      string        `json:"text"`
	Says      *string       `json:"says"`
	Asked     []ChangeAsked `json:"asked"`
}

// ScheduleDocument: A schedule of schedules.yaml: when it is due next, and its last job.
type ScheduleDocument struct {
	Schedule string         `json:"schedule"`
	Kind     string         `json:"kind"`
	Cron     string         `json:"cron"`
	Zone     string         `json:"zone"`
	Params   map[string]any `json:"params"`
	CatchUp  string         `json:"catch_up"`
	Overlap  string         `json:"overlap"`
	TimeoutS int64          `json:"timeout_s"`
	Retries  int64          `json:"retries"`
	Paused   bool           `json:"paused"`
	NextAtMs *int64         `json:"next_at_ms"`
	Last     *JobDocument   `json:"last"`
}

// ScheduleList: The schedules of schedules.yaml, each with its next due time and its last job.
type ScheduleList struct {
	Schedules []ScheduleDocument `json:"schedules"`
}

// SchedulePause: Whether the schedule is paused, and all schedules.
type SchedulePause struct {
	Schedules []ScheduleDocument `json:"schedules"`
	Schedule  string             `json:"schedule"`
	Paused    bool               `json:"paused"`
}

// SchemeRatio: Reports by payments of an acquirer or a merchant in a calendar month, and the limit of a
// scheme's programme. `merchants` are those with most reports, for an acquirer. The ratio is null without
// payments. At the pace of the last 28 days the limit is reached in `days_left` days, after `money_left` of
// further reported payments; null if not in this month.
type SchemeRatio struct {
	Programme string           `json:"programme"`
	Month     string           `json:"month"`
	Acquirer  *string          `json:"acquirer"`
	Merchant  *string          `json:"merchant"`
	Reports   int64            `json:"reports"`
	Money     string           `json:"money"`
	Payments  int64            `json:"payments"`
	Ratio     *float64         `json:"ratio"`
	Limit     float64          `json:"limit"`
	Minimum   int64            `json:"minimum"`
	DaysLeft  *int64           `json:"days_left,omitempty"`
	MoneyLeft *string          `json:"money_left,omitempty"`
	Merchants map[string]int64 `json:"merchants,omitempty"`
}

// SecondLooks: Second reviews: how many are waiting, done, and equal to the first; disagreements wait for a
// third person.
type SecondLooks struct {
	Waiting       int64    `json:"waiting"`
	Disagreements int64    `json:"disagreements"`
	Decided       int64    `json:"decided"`
	Agreed        int64    `json:"agreed"`
	Agreement     *float64 `json:"agreement"`
}

// SessionAnswer: One session.
type SessionAnswer struct {
	Session SessionDocument `json:"session"`
}

// SessionDocument: An open session, without its token. `device` is what the browser says of itself.
type SessionDocument struct {
	ID         string `json:"id"`
	User       string `json:"user"`
	Address    string `json:"address"`
	Device     string `json:"device"`
	SignedInAt string `json:"signed_in_at"`
	UsedAt     string `json:"used_at"`
	EndsAt     string `json:"ends_at"`
}

// Sessions: The sessions, most recently used first.
type Sessions struct {
	Sessions []SessionDocument `json:"sessions"`
}

// ShadowDraft: Put a draft in shadow: a new rule under its own id, a changed rule as a trial under another
// id.
type ShadowDraft struct {
	Etag   string  `json:"etag"`
	File   *string `json:"file,omitempty"`
	Reason *string `json:"reason,omitempty"`
}

// ShowBlastRadius: The changed rule.
type ShowBlastRadius struct {
	Text *string `json:"text,omitempty"`
}

// SignedOutUser: A user without an open session.
type SignedOutUser struct {
	User UserDocument `json:"user"`
}

// SilenceApproval: Approve, as the second person, a silence that somebody else requested; needs a signed-in
// user.
type SilenceApproval struct {
	Rule string `json:"rule"`
	Etag string `json:"etag"`
}

// SilenceEnd: End the silence of a rule for the key of the case; the answer says whether that is active.
type SilenceEnd struct {
	Rule string `json:"rule"`
}

// SilenceRequest: Silence a rule for the key of the case, for events before a time; the answer says whether
// it is active.
type SilenceRequest struct {
	Rule  string `json:"rule"`
	Until string `json:"until"`
	Text  string `json:"text"`
}

// SinkHealth: The progress of a sink: `through` is null before the first delivery, `trouble` while rows are
// accepted.
type SinkHealth struct {
	Name    string  `json:"name"`
	Kind    string  `json:"kind"`
	Through *int64  `json:"through"`
	Lag     int64   `json:"lag"`
	Stuck   int64   `json:"stuck"`
	Trouble *string `json:"trouble"`
}

// StepRow: A step: the users who reached it, their share of those at the first step, and seconds since the
// previous step.
type StepRow struct {
	Funnel         string   `json:"funnel"`
	Step           string   `json:"step"`
	Users          int64    `json:"users"`
	Conversion     *float64 `json:"conversion"`
	LowerQuartileS *float64 `json:"lower_quartile_s"`
	MedianS        *float64 `json:"median_s"`
	UpperQuartileS *float64 `json:"upper_quartile_s"`
	Value          *string  `json:"value,omitempty"`
}

// TableChange: The rows that a table has now; `why_not` says why they are not active yet.
type TableChange struct {
	Name   string  `json:"name"`
	Rows   int64   `json:"rows"`
	IsNew  bool    `json:"is_new"`
	WhyNot *string `json:"why_not"`
}

// TableRow: A row of a table, its key as the file has it, and the line; `since` is the time from which on it
// is valid.
type TableRow struct {
	Key    string             `json:"key"`
	Line   *int64             `json:"line"`
	Since  *string            `json:"since"`
	Values map[string]*string `json:"values"`
}

// TableRows: The rows of a table, and the columns of a new one.
type TableRows struct {
	CSV     string  `json:"csv"`
	Key     *string `json:"key,omitempty"`
	KeyType *string `json:"key_type,omitempty"`
	Columns *string `json:"columns,omitempty"`
}

// TableSummary: A table: its file, how keys are looked up (`equal`, `prefix`, `suffix`, `network`), and what
// reads it.
type TableSummary struct {
	Name    string   `json:"name"`
	File    string   `json:"file"`
	Match   string   `json:"match"`
	Columns []string `json:"columns"`
	Rows    int64    `json:"rows"`
	ReadBy  []string `json:"read_by"`
}

// TableView: A table with its newest versions; the row that a value gives, and the rows that one version
// changed.
type TableView struct {
	Table      TableSummary    `json:"table"`
	Value      string          `json:"value"`
	Row        *TableRow       `json:"row"`
	Versions   []LookUpVersion `json:"versions"`
	Difference []string        `json:"difference"`
}

// TestSent: Result of a test mail: accepted by the mail server, or the refused addresses. `folder` is where
// its file is if no server is set, for commands and programs on this machine.
type TestSent struct {
	Sent    bool     `json:"sent"`
	Refused []string `json:"refused"`
	Folder  *string  `json:"folder,omitempty"`
}

// TouchedEvent: An event that a changed rule touches. A second look hides its label.
type TouchedEvent struct {
	ID     string `json:"id"`
	Seq    int64  `json:"seq"`
	Time   string `json:"time"`
	Money  string `json:"money"`
	Before string `json:"before"`
	After  string `json:"after"`
	Label  string `json:"label"`
}

// TouchedEvents: Events touched in one way, with the number of different keys and of each label; `examples`
// are the newest.
type TouchedEvents struct {
	Way      string           `json:"way"`
	Events   int64            `json:"events"`
	Money    string           `json:"money"`
	Entities int64            `json:"entities"`
	Labels   map[string]int64 `json:"labels"`
	Examples []TouchedEvent   `json:"examples"`
}

// TrendRow: Of the users who came to the first step on a day, the number that reached a step by the end of
// the last day.
type TrendRow struct {
	Funnel string `json:"funnel"`
	Day    string `json:"day"`
	Step   string `json:"step"`
	Users  int64  `json:"users"`
}

// Undecided: An event of a type that is not decided.
type Undecided struct {
	Decided bool   `json:"decided"`
	Event   string `json:"event"`
	ID      string `json:"id"`
	Seq     *int64 `json:"seq"`
}

// UserAnswer: One user.
type UserAnswer struct {
	User UserDocument `json:"user"`
}

// UserChange: Change a user. A changed role or a disabled sign-in ends the user's sessions.
type UserChange struct {
	Role        *string `json:"role,omitempty"`
	Disabled    *bool   `json:"disabled,omitempty"`
	DisplayName *string `json:"display_name,omitempty"`
	Email       *string `json:"email,omitempty"`
}

// UserDocument: A user, without a credential. `signs_in_by` is `password`, `oidc` or `nothing`.
type UserDocument struct {
	ID           string  `json:"id"`
	Name         string  `json:"name"`
	DisplayName  string  `json:"display_name"`
	Email        string  `json:"email"`
	Role         string  `json:"role"`
	Disabled     bool    `json:"disabled"`
	SignsInBy    string  `json:"signs_in_by"`
	SecondFactor bool    `json:"second_factor"`
	MadeAt       string  `json:"made_at"`
	LastLoginAt  *string `json:"last_login_at"`
}

// UserLink: A one-time link: its path and its full URL, if the address of the service is known; without
// `user` for an admin. It sets the user's password, or creates an admin.
type UserLink struct {
	Link string  `json:"link"`
	URL  *string `json:"url"`
	User *string `json:"user"`
}

// Users: Users with their roles.
type Users struct {
	Users []UserDocument `json:"users"`
}

// UsersPage: A page of the users behind a number, in order, and their total; `next` if there are more.
type UsersPage struct {
	Users []string `json:"users"`
	Total int64    `json:"total"`
	Next  *string  `json:"next"`
}

// Usual: A feature's values in earlier decisions of this entity.
type Usual struct {
	Count   int64 `json:"count"`
	Lowest  any   `json:"lowest"`
	Median  any   `json:"median"`
	Highest any   `json:"highest"`
}

// ViewQuery: Save a filter under a name of your own; an existing one is replaced.
type ViewQuery struct {
	Query  string `json:"query"`
	Shared *bool  `json:"shared,omitempty"`
}

// Waiver: A waived gate, with the name of the promoter and the reason. `limit` is the failed limit, in words;
// old files have none.
type Waiver struct {
	Gate   string  `json:"gate"`
	Reason string  `json:"reason"`
	By     string  `json:"by"`
	Limit  *string `json:"limit,omitempty"`
}

// WriteLawTest: Write the event that breaks a law as a test into a draft of a rule, which fails until the
// rule hits it.
type WriteLawTest struct {
	Rule string `json:"rule"`
}

// PostAnalyticsEventCounts: Count events by type and day; each event counts once.
func (c *Client) PostAnalyticsEventCounts(ctx context.Context, body CountQuestion) (answer CountRows, err error) {
	err = c.call(ctx, "POST", "/api/v1/analytics/event-counts", nil, nil, body, &answer)
	return
}

// GetAnalyticsEventTypes: List the event types, their fields for counts, and the sources of events.
func (c *Client) GetAnalyticsEventTypes(ctx context.Context) (answer CountableTypes, err error) {
	err = c.call(ctx, "GET", "/api/v1/analytics/event-types", nil, nil, nil, &answer)
	return
}

// PostAnalyticsFacts: Show the features of one key of an entity at a point in time.
func (c *Client) PostAnalyticsFacts(ctx context.Context, body KeyAtMoment) (answer FactsDocument, err error) {
	err = c.call(ctx, "POST", "/api/v1/analytics/facts", nil, nil, body, &answer)
	return
}

// GetAnalyticsFunnels: List the funnels of funnels.yaml.
func (c *Client) GetAnalyticsFunnels(ctx context.Context) (answer DeclaredFunnels, err error) {
	err = c.call(ctx, "GET", "/api/v1/analytics/funnels", nil, nil, nil, &answer)
	return
}

// PostAnalyticsFunnels: Count the users at each step of a funnel, or of all funnels of funnels.yaml.
func (c *Client) PostAnalyticsFunnels(ctx context.Context, body FunnelDays) (answer FunnelDocument, err error) {
	err = c.call(ctx, "POST", "/api/v1/analytics/funnels", nil, nil, body, &answer)
	return
}

// PostAnalyticsFunnelsUsers: List the users behind a number of a funnel, up to 1,000 at once.
func (c *Client) PostAnalyticsFunnelsUsers(ctx context.Context, body FunnelUsers) (answer UsersPage, err error) {
	err = c.call(ctx, "POST", "/api/v1/analytics/funnels/users", nil, nil, body, &answer)
	return
}

// GetApprovals: List the changes that wait for a second person: of rules, lists, silences, models,
// thresholds, users and keys.
func (c *Client) GetApprovals(ctx context.Context) (answer Approvals, err error) {
	err = c.call(ctx, "GET", "/api/v1/approvals", nil, nil, nil, &answer)
	return
}

// PutApprovalsEtag: Approve a change that another person requested, or withdraw it; both take the right that
// the change takes.
func (c *Client) PutApprovalsEtag(ctx context.Context, etag string, body AnswerApproval) (answer ApprovalAnswer, err error) {
	err = c.call(ctx, "PUT", "/api/v1/approvals/"+part(etag), nil, nil, body, &answer)
	return
}

// PostAssistantCasesID: Sum up a case. Keys, names, notes and texts of events are not sent to the model.
func (c *Client) PostAssistantCasesID(ctx context.Context, id string) (answer CaseSummary, err error) {
	err = c.call(ctx, "POST", "/api/v1/assistant/cases/"+part(id), nil, nil, nil, &answer)
	return
}

// PostAssistantDrafts: Draft a rule from a sentence, check it, run its tests, count its hits and save it as a
// draft.
func (c *Client) PostAssistantDrafts(ctx context.Context, body DraftRule) (answer AssistantDraft, err error) {
	err = c.call(ctx, "POST", "/api/v1/assistant/drafts", nil, nil, body, &answer)
	return
}

// GetAuditOptions are the options of GetAudit; empty ones are not sent.
type GetAuditOptions struct {
	Who     string
	Action  string
	Subject string
	From    string
	To      string
	Limit   string
	Cursor  string
}

// GetAudit: List the audit log, newest first: who did what, with old and new values.
func (c *Client) GetAudit(ctx context.Context, options GetAuditOptions) (answer AuditRows, err error) {
	err = c.call(ctx, "GET", "/api/v1/audit", map[string]string{"who": options.Who, "action": options.Action, "subject": options.Subject, "from": options.From, "to": options.To, "limit": options.Limit, "cursor": options.Cursor}, nil, nil, &answer)
	return
}

// PostAuditVerify: Verify the hash chain of the audit log and its sealed end.
func (c *Client) PostAuditVerify(ctx context.Context) (answer AuditCheck, err error) {
	err = c.call(ctx, "POST", "/api/v1/audit/verify", nil, nil, nil, &answer)
	return
}

// GetAutoCloseOptions are the options of GetAutoClose; empty ones are not sent.
type GetAutoCloseOptions struct {
	Days string
}

// GetAutoClose: Show the rules that close cases: on past cases, with the fraud among them, and since their
// approval.
func (c *Client) GetAutoClose(ctx context.Context, options GetAutoCloseOptions) (answer CloseRules, err error) {
	err = c.call(ctx, "GET", "/api/v1/auto-close", map[string]string{"days": options.Days}, nil, nil, &answer)
	return
}

// PostAutoCloseRuleApprove: Let a rule close cases from now on, as it is now: a changed rule needs another
// approval.
func (c *Client) PostAutoCloseRuleApprove(ctx context.Context, rule string) (answer CloseRules, err error) {
	err = c.call(ctx, "POST", "/api/v1/auto-close/"+part(rule)+"/approve", nil, nil, nil, &answer)
	return
}

// PostAutoCloseRuleStop: Let a rule close no more cases until it is approved again.
func (c *Client) PostAutoCloseRuleStop(ctx context.Context, rule string) (answer CloseRules, err error) {
	err = c.call(ctx, "POST", "/api/v1/auto-close/"+part(rule)+"/stop", nil, nil, nil, &answer)
	return
}

// GetBacktests: List the back-tests of drafts.
func (c *Client) GetBacktests(ctx context.Context) (answer BacktestRuns, err error) {
	err = c.call(ctx, "GET", "/api/v1/backtests", nil, nil, nil, &answer)
	return
}

// PostBacktests: Compare a draft of rules, a policy or a model with the project without it, over the log.
func (c *Client) PostBacktests(ctx context.Context, body BacktestRequest) (answer any, err error) {
	err = c.call(ctx, "POST", "/api/v1/backtests", nil, nil, body, &answer)
	return
}

// GetBacktestsID: Get the progress of a back-test, and its final report.
func (c *Client) GetBacktestsID(ctx context.Context, id string) (answer BacktestRun, err error) {
	err = c.call(ctx, "GET", "/api/v1/backtests/"+part(id), nil, nil, nil, &answer)
	return
}

// GetCapacityOptions are the options of GetCapacity; empty ones are not sent.
type GetCapacityOptions struct {
	Since string
}

// GetCapacity: Get today's review capacity: cases done, expected end of the queue, and second reviews.
func (c *Client) GetCapacity(ctx context.Context, options GetCapacityOptions) (answer Capacity, err error) {
	err = c.call(ctx, "GET", "/api/v1/capacity", map[string]string{"since": options.Since}, nil, nil, &answer)
	return
}

// GetCasesOptions are the options of GetCases; empty ones are not sent.
type GetCasesOptions struct {
	State     string
	Entity    string
	Key       string
	Assignee  string
	Rule      string
	MinStake  string
	DueWithin string
	Text      string
	Customer  string
	Tag       string
	Queue     string
	Order     string
	Limit     string
	Cursor    string
}

// GetCases: List the cases that match a filter (the queue), those due first at the top.
func (c *Client) GetCases(ctx context.Context, options GetCasesOptions) (answer CaseList, err error) {
	err = c.call(ctx, "GET", "/api/v1/cases", map[string]string{"state": options.State, "entity": options.Entity, "key": options.Key, "assignee": options.Assignee, "rule": options.Rule, "min_stake": options.MinStake, "due_within": options.DueWithin, "text": options.Text, "customer": options.Customer, "tag": options.Tag, "queue": options.Queue, "order": options.Order, "limit": options.Limit, "cursor": options.Cursor}, nil, nil, &answer)
	return
}

// PostCasesBulk: Decide, claim or snooze several cases. Cases that cannot be changed are reported; the others
// are changed.
func (c *Client) PostCasesBulk(ctx context.Context, body CasesAction) (answer CasesActed, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/bulk", nil, nil, body, &answer)
	return
}

// PostCasesClaimNextOptions are the options of PostCasesClaimNext; empty ones are not sent.
type PostCasesClaimNextOptions struct {
	State     string
	Entity    string
	Key       string
	Assignee  string
	Rule      string
	MinStake  string
	DueWithin string
	Text      string
	Customer  string
	Tag       string
	Queue     string
	Order     string
}

// PostCasesClaimNext: Claim the case that is due first, of those that match a filter and are free or already
// yours.
func (c *Client) PostCasesClaimNext(ctx context.Context, options PostCasesClaimNextOptions) (answer CaseClaimed, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/claim-next", map[string]string{"state": options.State, "entity": options.Entity, "key": options.Key, "assignee": options.Assignee, "rule": options.Rule, "min_stake": options.MinStake, "due_within": options.DueWithin, "text": options.Text, "customer": options.Customer, "tag": options.Tag, "queue": options.Queue, "order": options.Order}, nil, nil, &answer)
	return
}

// PostCasesUndo: Undo a recent action on one or several cases; those that another user has changed since stay
// unchanged.
func (c *Client) PostCasesUndo(ctx context.Context, body CaseUndo) (answer CasesUndone, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/undo", nil, nil, body, &answer)
	return
}

// GetCasesID: Show one case with its alerts, notes, history and files.
func (c *Client) GetCasesID(ctx context.Context, id string) (answer CaseWhole, err error) {
	err = c.call(ctx, "GET", "/api/v1/cases/"+part(id), nil, nil, nil, &answer)
	return
}

// PostCasesIDApproveSilenceOptions are the options of PostCasesIDApproveSilence; empty ones are not sent.
type PostCasesIDApproveSilenceOptions struct {
	IfMatch string
}

// PostCasesIDApproveSilence: Approve, as the second person, a silence that somebody else requested; needs a
// signed-in user.
func (c *Client) PostCasesIDApproveSilence(ctx context.Context, id string, body SilenceApproval, options PostCasesIDApproveSilenceOptions) (answer CaseSilenced, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/approve-silence", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDAssignOptions are the options of PostCasesIDAssign; empty ones are not sent.
type PostCasesIDAssignOptions struct {
	IfMatch string
}

// PostCasesIDAssign: Assign a case to a user by name, or to nobody.
func (c *Client) PostCasesIDAssign(ctx context.Context, id string, body CaseAssignment, options PostCasesIDAssignOptions) (answer Case, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/assign", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDCheckOptions are the options of PostCasesIDCheck; empty ones are not sent.
type PostCasesIDCheckOptions struct {
	IfMatch string
}

// PostCasesIDCheck: Tick an item of a case's checklist, or open it again.
func (c *Client) PostCasesIDCheck(ctx context.Context, id string, body CaseChecked, options PostCasesIDCheckOptions) (answer Case, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/check", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDClaimOptions are the options of PostCasesIDClaim; empty ones are not sent.
type PostCasesIDClaimOptions struct {
	IfMatch string
}

// PostCasesIDClaim: Claim a case; it is locked for you until the lock expires.
func (c *Client) PostCasesIDClaim(ctx context.Context, id string, options PostCasesIDClaimOptions) (answer Case, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/claim", nil, map[string]string{"If-Match": options.IfMatch}, nil, &answer)
	return
}

// PostCasesIDDecideOptions are the options of PostCasesIDDecide; empty ones are not sent.
type PostCasesIDDecideOptions struct {
	IfMatch string
}

// PostCasesIDDecide: Decide a case: it closes at once; labels of its events are written 8 s later unless you
// undo it.
func (c *Client) PostCasesIDDecide(ctx context.Context, id string, body CaseVerdict, options PostCasesIDDecideOptions) (answer CaseDecided, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/decide", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDEndSilenceOptions are the options of PostCasesIDEndSilence; empty ones are not sent.
type PostCasesIDEndSilenceOptions struct {
	IfMatch string
}

// PostCasesIDEndSilence: End the silence of a rule for the key of the case; the answer says whether that is
// active.
func (c *Client) PostCasesIDEndSilence(ctx context.Context, id string, body SilenceEnd, options PostCasesIDEndSilenceOptions) (answer CaseSilenced, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/end-silence", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDEscalateOptions are the options of PostCasesIDEscalate; empty ones are not sent.
type PostCasesIDEscalateOptions struct {
	IfMatch string
}

// PostCasesIDEscalate: Escalate a case, to a user or to anybody else.
func (c *Client) PostCasesIDEscalate(ctx context.Context, id string, body CaseEscalation, options PostCasesIDEscalateOptions) (answer Case, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/escalate", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDMacroOptions are the options of PostCasesIDMacro; empty ones are not sent.
type PostCasesIDMacroOptions struct {
	IfMatch string
}

// PostCasesIDMacro: Run a macro: its note, its tags, and its answer, escalation or snooze in one step.
func (c *Client) PostCasesIDMacro(ctx context.Context, id string, body CaseMacro, options PostCasesIDMacroOptions) (answer CaseDecided, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/macro", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDMoveOptions are the options of PostCasesIDMove; empty ones are not sent.
type PostCasesIDMoveOptions struct {
	IfMatch string
}

// PostCasesIDMove: Move a case to another queue.
func (c *Client) PostCasesIDMove(ctx context.Context, id string, body CaseMove, options PostCasesIDMoveOptions) (answer Case, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/move", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDNote: Add a note to a case.
func (c *Client) PostCasesIDNote(ctx context.Context, id string, body CaseText) (answer Case, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/note", nil, nil, body, &answer)
	return
}

// PostCasesIDReleaseOptions are the options of PostCasesIDRelease; empty ones are not sent.
type PostCasesIDReleaseOptions struct {
	IfMatch string
}

// PostCasesIDRelease: Release a case.
func (c *Client) PostCasesIDRelease(ctx context.Context, id string, options PostCasesIDReleaseOptions) (answer Case, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/release", nil, map[string]string{"If-Match": options.IfMatch}, nil, &answer)
	return
}

// PostCasesIDReopenOptions are the options of PostCasesIDReopen; empty ones are not sent.
type PostCasesIDReopenOptions struct {
	IfMatch string
}

// PostCasesIDReopen: Reopen a closed case.
func (c *Client) PostCasesIDReopen(ctx context.Context, id string, body CaseText, options PostCasesIDReopenOptions) (answer Case, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/reopen", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDSilenceOptions are the options of PostCasesIDSilence; empty ones are not sent.
type PostCasesIDSilenceOptions struct {
	IfMatch string
}

// PostCasesIDSilence: Silence a rule for the key of the case, for events before a time; the answer says
// whether it is active.
func (c *Client) PostCasesIDSilence(ctx context.Context, id string, body SilenceRequest, options PostCasesIDSilenceOptions) (answer CaseSilenced, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/silence", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDSnoozeOptions are the options of PostCasesIDSnooze; empty ones are not sent.
type PostCasesIDSnoozeOptions struct {
	IfMatch string
}

// PostCasesIDSnooze: Snooze a case until a time.
func (c *Client) PostCasesIDSnooze(ctx context.Context, id string, body CaseSnooze, options PostCasesIDSnoozeOptions) (answer CaseActed, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/snooze", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDTagsOptions are the options of PostCasesIDTags; empty ones are not sent.
type PostCasesIDTagsOptions struct {
	IfMatch string
}

// PostCasesIDTags: Set the tags of a case, open or closed.
func (c *Client) PostCasesIDTags(ctx context.Context, id string, body CaseTags, options PostCasesIDTagsOptions) (answer Case, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/tags", nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostCasesIDUndo: Undo a recent action, by its number.
func (c *Client) PostCasesIDUndo(ctx context.Context, id string, body CaseUndo) (answer CasesUndone, err error) {
	err = c.call(ctx, "POST", "/api/v1/cases/"+part(id)+"/undo", nil, nil, body, &answer)
	return
}

// GetChanges: List inactive changes in the project's files: files, and settings of shroff.yaml.
func (c *Client) GetChanges(ctx context.Context) (answer FileChanges, err error) {
	err = c.call(ctx, "GET", "/api/v1/changes", nil, nil, nil, &answer)
	return
}

// PostChangesApply: Make the project's files the active version, from the next event on.
func (c *Client) PostChangesApply(ctx context.Context, body ChangesStep) (answer AppliedChanges, err error) {
	err = c.call(ctx, "POST", "/api/v1/changes/apply", nil, nil, body, &answer)
	return
}

// GetDecisionsEventIDOptions are the options of GetDecisionsEventID; empty ones are not sent.
type GetDecisionsEventIDOptions struct {
	Explain string
}

// GetDecisionsEventID: A decision.
func (c *Client) GetDecisionsEventID(ctx context.Context, event string, id string, options GetDecisionsEventIDOptions) (answer Decision, err error) {
	err = c.call(ctx, "GET", "/api/v1/decisions/"+part(event)+"/"+part(id), map[string]string{"explain": options.Explain}, nil, nil, &answer)
	return
}

// GetDecisionsEventIDExplain: Explain a decision: the model's reasons, its features beside earlier values,
// and its rules in words.
func (c *Client) GetDecisionsEventIDExplain(ctx context.Context, event string, id string) (answer Decision, err error) {
	err = c.call(ctx, "GET", "/api/v1/decisions/"+part(event)+"/"+part(id)+"/explain", nil, nil, nil, &answer)
	return
}

// GetDecisionsEventIDQuestions: List the questions to customers about a decision, and their answers.
func (c *Client) GetDecisionsEventIDQuestions(ctx context.Context, event string, id string) (answer Questions, err error) {
	err = c.call(ctx, "GET", "/api/v1/decisions/"+part(event)+"/"+part(id)+"/questions", nil, nil, nil, &answer)
	return
}

// GetDecisionsEventIDReplay: Replay a decision: compute it again from the log and compare.
func (c *Client) GetDecisionsEventIDReplay(ctx context.Context, event string, id string) (answer Replay, err error) {
	err = c.call(ctx, "GET", "/api/v1/decisions/"+part(event)+"/"+part(id)+"/replay", nil, nil, nil, &answer)
	return
}

// GetDisputesOptions are the options of GetDisputes; empty ones are not sent.
type GetDisputesOptions struct {
	Open      string
	Stage     string
	DueWithin string
	AsOf      string
	Limit     string
	Cursor    string
}

// GetDisputes: List disputes at their latest stage, with due dates and whether they meet Visa's Compelling
// Evidence 3.0.
func (c *Client) GetDisputes(ctx context.Context, options GetDisputesOptions) (answer DisputePage, err error) {
	err = c.call(ctx, "GET", "/api/v1/disputes", map[string]string{"open": options.Open, "stage": options.Stage, "due_within": options.DueWithin, "as_of": options.AsOf, "limit": options.Limit, "cursor": options.Cursor}, nil, nil, &answer)
	return
}

// PostDisputes: Import stages of disputes, each as a label of the source 'chargeback'.
func (c *Client) PostDisputes(ctx context.Context, body ImportDisputes) (answer DisputesImported, err error) {
	err = c.call(ctx, "POST", "/api/v1/disputes", nil, nil, body, &answer)
	return
}

// GetDisputesPackOptions are the options of GetDisputesPack; empty ones are not sent.
type GetDisputesPackOptions struct {
	Event string
}

// GetDisputesPack: Make the evidence pack of disputes: payment, decision and reasons, device, addresses,
// receipt, prior payments.
func (c *Client) GetDisputesPack(ctx context.Context, options GetDisputesPackOptions) (answer DisputeList, err error) {
	err = c.call(ctx, "GET", "/api/v1/disputes/pack", map[string]string{"event": options.Event}, nil, nil, &answer)
	return
}

// GetDrafts: List all rule drafts.
func (c *Client) GetDrafts(ctx context.Context) (answer RuleDrafts, err error) {
	err = c.call(ctx, "GET", "/api/v1/drafts", nil, nil, nil, &answer)
	return
}

// GetEntitiesEntityOptions are the options of GetEntitiesEntity; empty ones are not sent.
type GetEntitiesEntityOptions struct {
	Prefix string
	Limit  string
	Cursor string
}

// GetEntitiesEntity: List keys of an entity with their newest events and flags: the newest keys, or those
// that begin with a text.
func (c *Client) GetEntitiesEntity(ctx context.Context, entity string, options GetEntitiesEntityOptions) (answer EntityKeys, err error) {
	err = c.call(ctx, "GET", "/api/v1/entities/"+part(entity), map[string]string{"prefix": options.Prefix, "limit": options.Limit, "cursor": options.Cursor}, nil, nil, &answer)
	return
}

// GetEntitiesEntityKeyOptions are the options of GetEntitiesEntityKey; empty ones are not sent.
type GetEntitiesEntityKeyOptions struct {
	Limit  string
	Cursor string
}

// GetEntitiesEntityKey: Get one key of an entity: its events, features as of the last decision, flags, and
// related keys.
func (c *Client) GetEntitiesEntityKey(ctx context.Context, entity string, key string, options GetEntitiesEntityKeyOptions) (answer EntityView, err error) {
	err = c.call(ctx, "GET", "/api/v1/entities/"+part(entity)+"/"+part(key), map[string]string{"limit": options.Limit, "cursor": options.Cursor}, nil, nil, &answer)
	return
}

// GetEntitiesEntityKeyLinksOptions are the options of GetEntitiesEntityKeyLinks; empty ones are not sent.
type GetEntitiesEntityKeyLinksOptions struct {
	AsOf  string
	Steps string
}

// GetEntitiesEntityKeyLinks: Show by which values a key is linked to other keys of its entity, and what
// happened with them.
func (c *Client) GetEntitiesEntityKeyLinks(ctx context.Context, entity string, key string, options GetEntitiesEntityKeyLinksOptions) (answer EntityLinksAnswer, err error) {
	err = c.call(ctx, "GET", "/api/v1/entities/"+part(entity)+"/"+part(key)+"/links", map[string]string{"as_of": options.AsOf, "steps": options.Steps}, nil, nil, &answer)
	return
}

// GetExperimentsOptions are the options of GetExperiments; empty ones are not sent.
type GetExperimentsOptions struct {
	Rule string
	AsOf string
}

// GetExperiments: Compare the keys that an experiment or the rollout of a rule has drawn with all others, in
// money.
func (c *Client) GetExperiments(ctx context.Context, options GetExperimentsOptions) (answer Experiment, err error) {
	err = c.call(ctx, "GET", "/api/v1/experiments", map[string]string{"rule": options.Rule, "as_of": options.AsOf}, nil, nil, &answer)
	return
}

// PostExperimentsEnd: End an experiment of policy.yaml: all keys get the policy of arm A, or with --promote
// that of arm B.
func (c *Client) PostExperimentsEnd(ctx context.Context, body EndExperiment) (answer AppliedCutoffs, err error) {
	err = c.call(ctx, "POST", "/api/v1/experiments/end", nil, nil, body, &answer)
	return
}

// GetFeaturesOptions are the options of GetFeatures; empty ones are not sent.
type GetFeaturesOptions struct {
	Event      string
	Expression string
}

// GetFeatures: Profile features: type, cost, what reads them, and their values at the newest 1,000 decided
// events.
func (c *Client) GetFeatures(ctx context.Context, options GetFeaturesOptions) (answer FeatureProfiles, err error) {
	err = c.call(ctx, "GET", "/api/v1/features", map[string]string{"event": options.Event, "expression": options.Expression}, nil, nil, &answer)
	return
}

// GetFlagsOptions are the options of GetFlags; empty ones are not sent.
type GetFlagsOptions struct {
	Entity string
	Key    string
	Field  string
	Value  string
	Limit  string
	Cursor string
}

// GetFlags: List the flags of one key of an entity, newest first.
func (c *Client) GetFlags(ctx context.Context, options GetFlagsOptions) (answer Flags, err error) {
	err = c.call(ctx, "GET", "/api/v1/flags", map[string]string{"entity": options.Entity, "key": options.Key, "field": options.Field, "value": options.Value, "limit": options.Limit, "cursor": options.Cursor}, nil, nil, &answer)
	return
}

// PatchFlagsID: Record whether a flag was right. The answer becomes an analyst's label, fraud or genuine, of
// its event: it judges all flags of that event.
func (c *Client) PatchFlagsID(ctx context.Context, id string, body FlagJudgement) (answer FlagShown, err error) {
	err = c.call(ctx, "PATCH", "/api/v1/flags/"+part(id), nil, nil, body, &answer)
	return
}

// GetGuards: List the guards with what they found last.
func (c *Client) GetGuards(ctx context.Context) (answer GuardStates, err error) {
	err = c.call(ctx, "GET", "/api/v1/guards", nil, nil, nil, &answer)
	return
}

// PostGuardsNameUndo: Undo a stop: the file is as it was before, and the guard stays off until its text
// changes.
func (c *Client) PostGuardsNameUndo(ctx context.Context, name string) (answer GuardStates, err error) {
	err = c.call(ctx, "POST", "/api/v1/guards/"+part(name)+"/undo", nil, nil, nil, &answer)
	return
}

// GetHealth: Get the service's health: the findings of `shroff doctor`, at most a minute old, sinks, drift,
// and alerts of Prometheus that fire.
func (c *Client) GetHealth(ctx context.Context) (answer Health, err error) {
	err = c.call(ctx, "GET", "/api/v1/health", nil, nil, nil, &answer)
	return
}

// PostHealthAlerts: Receive alerts of Prometheus from Alertmanager (a `webhook_configs` receiver). `GET
// /api/v1/health` and the screen *Health* show those that fire, at most 200. An alert ends when it is
// resolved, or 15 minutes after its last repeat.
func (c *Client) PostHealthAlerts(ctx context.Context, body PostedAlerts) (answer AlertCount, err error) {
	err = c.call(ctx, "POST", "/api/v1/health/alerts", nil, nil, body, &answer)
	return
}

// GetJobsOptions are the options of GetJobs; empty ones are not sent.
type GetJobsOptions struct {
	Limit  string
	Before string
}

// GetJobs: List the newest jobs with their states and progress, newest first.
func (c *Client) GetJobs(ctx context.Context, options GetJobsOptions) (answer JobList, err error) {
	err = c.call(ctx, "GET", "/api/v1/jobs", map[string]string{"limit": options.Limit, "before": options.Before}, nil, nil, &answer)
	return
}

// PostJobs: Queue a job: features, train, backtest, lake, marts and others. Only one job of a kind can wait
// or run.
func (c *Client) PostJobs(ctx context.Context, body NewJob) (answer JobDocument, err error) {
	err = c.call(ctx, "POST", "/api/v1/jobs", nil, nil, body, &answer)
	return
}

// GetJobsKinds: List the kinds of jobs and their parameters.
func (c *Client) GetJobsKinds(ctx context.Context) (answer JobKinds, err error) {
	err = c.call(ctx, "GET", "/api/v1/jobs/kinds", nil, nil, nil, &answer)
	return
}

// GetJobsID: Show a job: its parameters, progress by step, log and result.
func (c *Client) GetJobsID(ctx context.Context, id string) (answer JobDocument, err error) {
	err = c.call(ctx, "GET", "/api/v1/jobs/"+part(id), nil, nil, nil, &answer)
	return
}

// PostJobsIDCancel: Cancel a job that waits or runs; a running one stops soon. Requires the right to start
// it.
func (c *Client) PostJobsIDCancel(ctx context.Context, id string) (answer JobDocument, err error) {
	err = c.call(ctx, "POST", "/api/v1/jobs/"+part(id)+"/cancel", nil, nil, nil, &answer)
	return
}

// GetKeys: List all API keys, revoked ones included, without their secret text.
func (c *Client) GetKeys(ctx context.Context) (answer Keys, err error) {
	err = c.call(ctx, "GET", "/api/v1/keys", nil, nil, nil, &answer)
	return
}

// PostKeys: Create an API key and show it, this one time. It has at most the rights of its creator.
func (c *Client) PostKeys(ctx context.Context, body NewKey) (answer NewKeyAnswer, err error) {
	err = c.call(ctx, "POST", "/api/v1/keys", nil, nil, body, &answer)
	return
}

// DeleteKeysIDOptions are the options of DeleteKeysID; empty ones are not sent.
type DeleteKeysIDOptions struct {
	WithMade string
}

// DeleteKeysID: Revoke an API key by its id, its name or its text. Running services may accept it for one
// more second.
func (c *Client) DeleteKeysID(ctx context.Context, id string, options DeleteKeysIDOptions) (answer RevokedKey, err error) {
	err = c.call(ctx, "DELETE", "/api/v1/keys/"+part(id), map[string]string{"with_made": options.WithMade}, nil, nil, &answer)
	return
}

// GetLabels: Get statistics of labels: how many, how fast, conflicting, unmatched, and customers' answers.
func (c *Client) GetLabels(ctx context.Context) (answer LabelsTogether, err error) {
	err = c.call(ctx, "GET", "/api/v1/labels", nil, nil, nil, &answer)
	return
}

// GetLaws: Prove the laws in laws/*.yaml for all events, or refute each by an event that breaks it.
func (c *Client) GetLaws(ctx context.Context) (answer LawsProved, err error) {
	err = c.call(ctx, "GET", "/api/v1/laws", nil, nil, nil, &answer)
	return
}

// PostLawsLawTest: Write the event that breaks a law as a test into a draft of a rule, which fails until the
// rule hits it.
func (c *Client) PostLawsLawTest(ctx context.Context, law string, body WriteLawTest) (answer RuleDraftText, err error) {
	err = c.call(ctx, "POST", "/api/v1/laws/"+part(law)+"/test", nil, nil, body, &answer)
	return
}

// GetLists: List the lists that rules and features read.
func (c *Client) GetLists(ctx context.Context) (answer Lists, err error) {
	err = c.call(ctx, "GET", "/api/v1/lists", nil, nil, nil, &answer)
	return
}

// GetListsList: Show the entries of a list, in the order of its file.
func (c *Client) GetListsList(ctx context.Context, list string) (answer ListEntries, err error) {
	err = c.call(ctx, "GET", "/api/v1/lists/"+part(list), nil, nil, nil, &answer)
	return
}

// PutListsListOptions are the options of PutListsList; empty ones are not sent.
type PutListsListOptions struct {
	IfMatch string
}

// PutListsList: Add entries of a CSV file to a list and make them active; entries with the same value are
// replaced.
func (c *Client) PutListsList(ctx context.Context, list string, body ListSheet, options PutListsListOptions) (answer ListChange, err error) {
	err = c.call(ctx, "PUT", "/api/v1/lists/"+part(list), nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// PostListsListApprove: Approve, as the second person, a requested change of a list.
func (c *Client) PostListsListApprove(ctx context.Context, list string, body ListApproval) (answer ListChange, err error) {
	err = c.call(ctx, "POST", "/api/v1/lists/"+part(list)+"/approve", nil, nil, body, &answer)
	return
}

// PostListsListEntries: Add a value to lists/NAME.csv and make it active; an entry with the same value is
// replaced.
func (c *Client) PostListsListEntries(ctx context.Context, list string, body NewListEntry) (answer ListChange, err error) {
	err = c.call(ctx, "POST", "/api/v1/lists/"+part(list)+"/entries", nil, nil, body, &answer)
	return
}

// DeleteListsListEntriesValueOptions are the options of DeleteListsListEntriesValue; empty ones are not sent.
type DeleteListsListEntriesValueOptions struct {
	Reason string
}

// DeleteListsListEntriesValue: Remove a value from lists/NAME.csv and make that active.
func (c *Client) DeleteListsListEntriesValue(ctx context.Context, list string, value string, options DeleteListsListEntriesValueOptions) (answer ListChange, err error) {
	err = c.call(ctx, "DELETE", "/api/v1/lists/"+part(list)+"/entries/"+part(value), map[string]string{"reason": options.Reason}, nil, nil, &answer)
	return
}

// GetLiveOptions are the options of GetLive; empty ones are not sent.
type GetLiveOptions struct {
	Period string
}

// GetLive: Get live figures: events and decisions in a period up to the newest event, latency, and backlog.
func (c *Client) GetLive(ctx context.Context, options GetLiveOptions) (answer Live, err error) {
	err = c.call(ctx, "GET", "/api/v1/live", map[string]string{"period": options.Period}, nil, nil, &answer)
	return
}

// GetMailboxOptions are the options of GetMailbox; empty ones are not sent.
type GetMailboxOptions struct {
	Limit string
}

// GetMailbox: List the built-in mailbox: mails stored as files, if no mail server is set.
func (c *Client) GetMailbox(ctx context.Context, options GetMailboxOptions) (answer Mailbox, err error) {
	err = c.call(ctx, "GET", "/api/v1/mailbox", map[string]string{"limit": options.Limit}, nil, nil, &answer)
	return
}

// GetMailboxName: Get one mail of the built-in mailbox.
func (c *Client) GetMailboxName(ctx context.Context, name string) (answer KeptMail, err error) {
	err = c.call(ctx, "GET", "/api/v1/mailbox/"+part(name), nil, nil, nil, &answer)
	return
}

// GetModels: List the models of the registry with their current state, newest first.
func (c *Client) GetModels(ctx context.Context) (answer Models, err error) {
	err = c.call(ctx, "GET", "/api/v1/models", nil, nil, nil, &answer)
	return
}

// GetModelsID: Show one model: its origin, its metrics and its gates.
func (c *Client) GetModelsID(ctx context.Context, id string) (answer Model, err error) {
	err = c.call(ctx, "GET", "/api/v1/models/"+part(id), nil, nil, nil, &answer)
	return
}

// PostModelsID: Promote a model, roll it back, put it in shadow or take it out; with a reason, which is
// recorded.
func (c *Client) PostModelsID(ctx context.Context, id string, body ModelChange) (answer Deployment, err error) {
	err = c.call(ctx, "POST", "/api/v1/models/"+part(id), nil, nil, body, &answer)
	return
}

// GetNames: List the names that a rule's expressions can use: features, fields, functions, lists and tables,
// with types.
func (c *Client) GetNames(ctx context.Context) (answer Names, err error) {
	err = c.call(ctx, "GET", "/api/v1/names", nil, nil, nil, &answer)
	return
}

// GetNotices: List the notices of the project with their triggers and channels.
func (c *Client) GetNotices(ctx context.Context) (answer Notices, err error) {
	err = c.call(ctx, "GET", "/api/v1/notices", nil, nil, nil, &answer)
	return
}

// PostNoticesWhy: Make a link for the customer to a page with the reasons of a decision, where they can say
// that it is wrong.
func (c *Client) PostNoticesWhy(ctx context.Context, body LinkReasons) (answer ReasonsLink, err error) {
	err = c.call(ctx, "POST", "/api/v1/notices/why", nil, nil, body, &answer)
	return
}

// GetNoticesNamePreviewOptions are the options of GetNoticesNamePreview; empty ones are not sent.
type GetNoticesNamePreviewOptions struct {
	Event string
	Day   string
}

// GetNoticesNamePreview: Preview the mail of a notice. Nothing is sent, and the link in it does not work.
func (c *Client) GetNoticesNamePreview(ctx context.Context, name string, options GetNoticesNamePreviewOptions) (answer MailPreview, err error) {
	err = c.call(ctx, "GET", "/api/v1/notices/"+part(name)+"/preview", map[string]string{"event": options.Event, "day": options.Day}, nil, nil, &answer)
	return
}

// PostNoticesNameTest: Send the mail of a notice to an address, marked as a test. Exit status 1 if it is
// refused.
func (c *Client) PostNoticesNameTest(ctx context.Context, name string, body NoticeTest) (answer TestSent, err error) {
	err = c.call(ctx, "POST", "/api/v1/notices/"+part(name)+"/test", nil, nil, body, &answer)
	return
}

// GetOutboxOptions are the options of GetOutbox; empty ones are not sent.
type GetOutboxOptions struct {
	State  string
	Limit  string
	Cursor string
}

// GetOutbox: List the newest letters (mails, calls and documents): sent, waiting or refused.
func (c *Client) GetOutbox(ctx context.Context, options GetOutboxOptions) (answer LetterPage, err error) {
	err = c.call(ctx, "GET", "/api/v1/outbox", map[string]string{"state": options.State, "limit": options.Limit, "cursor": options.Cursor}, nil, nil, &answer)
	return
}

// PostOutboxIDRetry: Send a letter again that was refused, or whose delivery is unknown.
func (c *Client) PostOutboxIDRetry(ctx context.Context, id string) (answer LetterShown, err error) {
	err = c.call(ctx, "POST", "/api/v1/outbox/"+part(id)+"/retry", nil, nil, nil, &answer)
	return
}

// GetQuarantineOptions are the options of GetQuarantine; empty ones are not sent.
type GetQuarantineOptions struct {
	Limit  string
	Cursor string
}

// GetQuarantine: List quarantined input, newest first.
func (c *Client) GetQuarantine(ctx context.Context, options GetQuarantineOptions) (answer QuarantinePage, err error) {
	err = c.call(ctx, "GET", "/api/v1/quarantine", map[string]string{"limit": options.Limit, "cursor": options.Cursor}, nil, nil, &answer)
	return
}

// PostQuarantineDrop: Drop quarantined entries for good.
func (c *Client) PostQuarantineDrop(ctx context.Context, body QuarantineNumbers) (answer DroppedEntries, err error) {
	err = c.call(ctx, "POST", "/api/v1/quarantine/drop", nil, nil, body, &answer)
	return
}

// PostQuarantineRetry: Retry entries with the current project, all of them if no number is given; refused
// entries stay.
func (c *Client) PostQuarantineRetry(ctx context.Context, body QuarantineNumbers) (answer RetriedEntries, err error) {
	err = c.call(ctx, "POST", "/api/v1/quarantine/retry", nil, nil, body, &answer)
	return
}

// GetRecords: List every rule with its state and its statistics over the newest part of the log.
func (c *Client) GetRecords(ctx context.Context) (answer RuleStates, err error) {
	err = c.call(ctx, "GET", "/api/v1/records", nil, nil, nil, &answer)
	return
}

// GetResultsOptions are the options of GetResults; empty ones are not sent.
type GetResultsOptions struct {
	From string
	To   string
	By   string
	AsOf string
	Zone string
}

// GetResults: Report what fraud cost and what decisions did: volume, outcomes, fraud caught and missed, false
// declines.
func (c *Client) GetResults(ctx context.Context, options GetResultsOptions) (answer Results, err error) {
	err = c.call(ctx, "GET", "/api/v1/results", map[string]string{"from": options.From, "to": options.To, "by": options.By, "as_of": options.AsOf, "zone": options.Zone}, nil, nil, &answer)
	return
}

// GetRules: List the rule files.
func (c *Client) GetRules(ctx context.Context) (answer RuleFiles, err error) {
	err = c.call(ctx, "GET", "/api/v1/rules", nil, nil, nil, &answer)
	return
}

// GetRulesFile: Get one rule file with its text.
func (c *Client) GetRulesFile(ctx context.Context, file string) (answer RuleFileText, err error) {
	err = c.call(ctx, "GET", "/api/v1/rules/"+part(file), nil, nil, nil, &answer)
	return
}

// PutRulesFileOptions are the options of PutRulesFile; empty ones are not sent.
type PutRulesFileOptions struct {
	IfMatch     string
	IfNoneMatch string
}

// PutRulesFile: Replace the text of a rule file: it is checked with its tests, written, and made active.
func (c *Client) PutRulesFile(ctx context.Context, file string, body NewRuleFile, options PutRulesFileOptions) (answer RuleFileWritten, err error) {
	err = c.call(ctx, "PUT", "/api/v1/rules/"+part(file), nil, map[string]string{"If-Match": options.IfMatch, "If-None-Match": options.IfNoneMatch}, body, &answer)
	return
}

// PostRulesRuleBack: Restore a rule's version from a sequence number of the log; 0 removes the rule.
func (c *Client) PostRulesRuleBack(ctx context.Context, rule string, body RuleReturn) (answer AdoptedFile, err error) {
	err = c.call(ctx, "POST", "/api/v1/rules/"+part(rule)+"/back", nil, nil, body, &answer)
	return
}

// PostRulesRuleBlastRadius: Show what a changed rule would have touched in the last 30 days: decisions,
// money, keys, and examples.
func (c *Client) PostRulesRuleBlastRadius(ctx context.Context, rule string, body ShowBlastRadius) (answer BlastRadius, err error) {
	err = c.call(ctx, "POST", "/api/v1/rules/"+part(rule)+"/blast-radius", nil, nil, body, &answer)
	return
}

// GetRulesRuleDraft: Show the text of a draft.
func (c *Client) GetRulesRuleDraft(ctx context.Context, rule string) (answer RuleDraftText, err error) {
	err = c.call(ctx, "GET", "/api/v1/rules/"+part(rule)+"/draft", nil, nil, nil, &answer)
	return
}

// PutRulesRuleDraftOptions are the options of PutRulesRuleDraft; empty ones are not sent.
type PutRulesRuleDraftOptions struct {
	IfMatch     string
	IfNoneMatch string
}

// PutRulesRuleDraft: Save the draft of a rule, even if it has errors. Nothing becomes active.
func (c *Client) PutRulesRuleDraft(ctx context.Context, rule string, body DraftBody, options PutRulesRuleDraftOptions) (answer RuleDraftChecked, err error) {
	err = c.call(ctx, "PUT", "/api/v1/rules/"+part(rule)+"/draft", nil, map[string]string{"If-Match": options.IfMatch, "If-None-Match": options.IfNoneMatch}, body, &answer)
	return
}

// DeleteRulesRuleDraftOptions are the options of DeleteRulesRuleDraft; empty ones are not sent.
type DeleteRulesRuleDraftOptions struct {
	IfMatch string
}

// DeleteRulesRuleDraft: Delete a draft and its trial.
func (c *Client) DeleteRulesRuleDraft(ctx context.Context, rule string, options DeleteRulesRuleDraftOptions) (answer DroppedDraft, err error) {
	err = c.call(ctx, "DELETE", "/api/v1/rules/"+part(rule)+"/draft", nil, map[string]string{"If-Match": options.IfMatch}, nil, &answer)
	return
}

// PostRulesRuleDraftActivate: Make a draft active; it replaces the rule and its trial. Laws that are required
// must be proved with it.
func (c *Client) PostRulesRuleDraftActivate(ctx context.Context, rule string, body ActivateDraft) (answer AdoptedFile, err error) {
	err = c.call(ctx, "POST", "/api/v1/rules/"+part(rule)+"/draft/activate", nil, nil, body, &answer)
	return
}

// PostRulesRuleDraftApprove: Approve a draft that others wrote.
func (c *Client) PostRulesRuleDraftApprove(ctx context.Context, rule string, body ApproveDraft) (answer RuleDraft, err error) {
	err = c.call(ctx, "POST", "/api/v1/rules/"+part(rule)+"/draft/approve", nil, nil, body, &answer)
	return
}

// PostRulesRuleDraftCheck: Check an unsaved text: errors with line and column, test results, the rule in
// words, and as a form.
func (c *Client) PostRulesRuleDraftCheck(ctx context.Context, rule string, body FormBody) (answer DraftCheck, err error) {
	err = c.call(ctx, "POST", "/api/v1/rules/"+part(rule)+"/draft/check", nil, nil, body, &answer)
	return
}

// PostRulesRuleDraftCount: Count the hits of an unsaved text among the events of the last 30 days, and their
// amount.
func (c *Client) PostRulesRuleDraftCount(ctx context.Context, rule string, body DraftBody) (answer DraftCount, err error) {
	err = c.call(ctx, "POST", "/api/v1/rules/"+part(rule)+"/draft/count", nil, nil, body, &answer)
	return
}

// GetRulesRuleDraftLaws: Prove that a rule's draft, made active, loosens nothing of the active policy; and
// all laws with it.
func (c *Client) GetRulesRuleDraftLaws(ctx context.Context, rule string) (answer LawsProved, err error) {
	err = c.call(ctx, "GET", "/api/v1/rules/"+part(rule)+"/draft/laws", nil, nil, nil, &answer)
	return
}

// PostRulesRuleDraftShadow: Put a draft in shadow: a new rule under its own id, a changed rule as a trial
// under another id.
func (c *Client) PostRulesRuleDraftShadow(ctx context.Context, rule string, body ShadowDraft) (answer AdoptedFile, err error) {
	err = c.call(ctx, "POST", "/api/v1/rules/"+part(rule)+"/draft/shadow", nil, nil, body, &answer)
	return
}

// GetRulesRuleHistory: List the versions of a rule, with their authors.
func (c *Client) GetRulesRuleHistory(ctx context.Context, rule string) (answer RuleVersions, err error) {
	err = c.call(ctx, "GET", "/api/v1/rules/"+part(rule)+"/history", nil, nil, nil, &answer)
	return
}

// GetRulesRuleHitsOptions are the options of GetRulesRuleHits; empty ones are not sent.
type GetRulesRuleHitsOptions struct {
	Limit  string
	Cursor string
}

// GetRulesRuleHits: List the newest events that a rule hit, with their labels.
func (c *Client) GetRulesRuleHits(ctx context.Context, rule string, options GetRulesRuleHitsOptions) (answer RuleHits, err error) {
	err = c.call(ctx, "GET", "/api/v1/rules/"+part(rule)+"/hits", map[string]string{"limit": options.Limit, "cursor": options.Cursor}, nil, nil, &answer)
	return
}

// GetRulesRuleRecord: Show one rule in words, with its statistics.
func (c *Client) GetRulesRuleRecord(ctx context.Context, rule string) (answer RuleWhole, err error) {
	err = c.call(ctx, "GET", "/api/v1/rules/"+part(rule)+"/record", nil, nil, nil, &answer)
	return
}

// GetSchedules: List the schedules of schedules.yaml: what they run, when they are due next, and their last
// result.
func (c *Client) GetSchedules(ctx context.Context) (answer ScheduleList, err error) {
	err = c.call(ctx, "GET", "/api/v1/schedules", nil, nil, nil, &answer)
	return
}

// PostSchedulesNamePause: Pause a schedule. Runs that are due during the pause are skipped.
func (c *Client) PostSchedulesNamePause(ctx context.Context, name string) (answer SchedulePause, err error) {
	err = c.call(ctx, "POST", "/api/v1/schedules/"+part(name)+"/pause", nil, nil, nil, &answer)
	return
}

// PostSchedulesNameResume: Resume a paused schedule, from now on.
func (c *Client) PostSchedulesNameResume(ctx context.Context, name string) (answer SchedulePause, err error) {
	err = c.call(ctx, "POST", "/api/v1/schedules/"+part(name)+"/resume", nil, nil, nil, &answer)
	return
}

// PostSchedulesNameRun: Run the job of a schedule now.
func (c *Client) PostSchedulesNameRun(ctx context.Context, name string) (answer JobDocument, err error) {
	err = c.call(ctx, "POST", "/api/v1/schedules/"+part(name)+"/run", nil, nil, nil, &answer)
	return
}

// GetSessions: List open sessions.
func (c *Client) GetSessions(ctx context.Context) (answer Sessions, err error) {
	err = c.call(ctx, "GET", "/api/v1/sessions", nil, nil, nil, &answer)
	return
}

// DeleteSessionsID: End a session.
func (c *Client) DeleteSessionsID(ctx context.Context, id string) (answer SessionAnswer, err error) {
	err = c.call(ctx, "DELETE", "/api/v1/sessions/"+part(id), nil, nil, nil, &answer)
	return
}

// GetTables: List look-up tables: how they are looked up, their rows, and what reads them.
func (c *Client) GetTables(ctx context.Context) (answer LookUpTables, err error) {
	err = c.call(ctx, "GET", "/api/v1/tables", nil, nil, nil, &answer)
	return
}

// GetTablesNameOptions are the options of GetTablesName; empty ones are not sent.
type GetTablesNameOptions struct {
	Value string
	At    string
	Seq   string
}

// GetTablesName: Show a look-up table: the row that a value gives, its versions, and who applied them.
func (c *Client) GetTablesName(ctx context.Context, name string, options GetTablesNameOptions) (answer TableView, err error) {
	err = c.call(ctx, "GET", "/api/v1/tables/"+part(name), map[string]string{"value": options.Value, "at": options.At, "seq": options.Seq}, nil, nil, &answer)
	return
}

// PutTablesName: Create a look-up table from a CSV file, or replace all rows of one, and make that active.
func (c *Client) PutTablesName(ctx context.Context, name string, body TableRows) (answer TableChange, err error) {
	err = c.call(ctx, "PUT", "/api/v1/tables/"+part(name), nil, nil, body, &answer)
	return
}

// GetThresholdsOptions are the options of GetThresholds; empty ones are not sent.
type GetThresholdsOptions struct {
	Event        string
	Model        string
	Missed       string
	FalseDecline string
	Review       string
	ReviewsADay  string
	ReviewAt     string
	DeclineAt    string
}

// GetThresholds: Choose the thresholds of the score with the lowest cost of fraud, declines and reviews, by
// policy.yaml.
func (c *Client) GetThresholds(ctx context.Context, options GetThresholdsOptions) (answer CheapestThresholds, err error) {
	err = c.call(ctx, "GET", "/api/v1/thresholds", map[string]string{"event": options.Event, "model": options.Model, "missed": options.Missed, "false_decline": options.FalseDecline, "review": options.Review, "reviews_a_day": options.ReviewsADay, "review_at": options.ReviewAt, "decline_at": options.DeclineAt}, nil, nil, &answer)
	return
}

// PutThresholdsEventOptions are the options of PutThresholdsEvent; empty ones are not sent.
type PutThresholdsEventOptions struct {
	IfMatch string
}

// PutThresholdsEvent: Write other thresholds, and costs, of an event type into policy.yaml; with a reason,
// which is recorded.
func (c *Client) PutThresholdsEvent(ctx context.Context, event string, body NewCutoffs, options PutThresholdsEventOptions) (answer AppliedCutoffs, err error) {
	err = c.call(ctx, "PUT", "/api/v1/thresholds/"+part(event), nil, map[string]string{"If-Match": options.IfMatch}, body, &answer)
	return
}

// GetUsers: List all users with their roles.
func (c *Client) GetUsers(ctx context.Context) (answer Users, err error) {
	err = c.call(ctx, "GET", "/api/v1/users", nil, nil, nil, &answer)
	return
}

// PostUsers: Add a user. Without a password, the output has a one-time link to set one, valid for three days.
func (c *Client) PostUsers(ctx context.Context, body NewUser) (answer NewUserAnswer, err error) {
	err = c.call(ctx, "POST", "/api/v1/users", nil, nil, body, &answer)
	return
}

// PatchUsersName: Change a user. A changed role or a disabled sign-in ends the user's sessions.
func (c *Client) PatchUsersName(ctx context.Context, name string, body UserChange) (answer UserAnswer, err error) {
	err = c.call(ctx, "PATCH", "/api/v1/users/"+part(name), nil, nil, body, &answer)
	return
}

// DeleteUsersName: Remove a user and the API keys that the user made. The audit log keeps the name and its
// actions.
func (c *Client) DeleteUsersName(ctx context.Context, name string) (answer RemovedUser, err error) {
	err = c.call(ctx, "DELETE", "/api/v1/users/"+part(name), nil, nil, nil, &answer)
	return
}

// DeleteUsersNameFactorOptions are the options of DeleteUsersNameFactor; empty ones are not sent.
type DeleteUsersNameFactorOptions struct {
	Code string
}

// DeleteUsersNameFactor: Remove the second factor of a user who lost the device; the user's sessions end.
func (c *Client) DeleteUsersNameFactor(ctx context.Context, name string, options DeleteUsersNameFactorOptions) (answer FactorlessUser, err error) {
	err = c.call(ctx, "DELETE", "/api/v1/users/"+part(name)+"/factor", map[string]string{"code": options.Code}, nil, nil, &answer)
	return
}

// PostUsersNameLink: Create a one-time link: with a NAME it sets that user's password, without one it creates
// an admin.
func (c *Client) PostUsersNameLink(ctx context.Context, name string) (answer UserLink, err error) {
	err = c.call(ctx, "POST", "/api/v1/users/"+part(name)+"/link", nil, nil, nil, &answer)
	return
}

// DeleteUsersNameSessions: End all sessions of a user, who may sign in again.
func (c *Client) DeleteUsersNameSessions(ctx context.Context, name string) (answer SignedOutUser, err error) {
	err = c.call(ctx, "DELETE", "/api/v1/users/"+part(name)+"/sessions", nil, nil, nil, &answer)
	return
}

// GetViews: List saved filters: built-in ones, your own, and those that others share.
func (c *Client) GetViews(ctx context.Context) (answer CaseViews, err error) {
	err = c.call(ctx, "GET", "/api/v1/views", nil, nil, nil, &answer)
	return
}

// PutViewsName: Save a filter under a name of your own; an existing one is replaced.
func (c *Client) PutViewsName(ctx context.Context, name string, body ViewQuery) (answer CaseView, err error) {
	err = c.call(ctx, "PUT", "/api/v1/views/"+part(name), nil, nil, body, &answer)
	return
}

// DeleteViewsName: Delete one of your saved filters.
func (c *Client) DeleteViewsName(ctx context.Context, name string) (answer RemovedView, err error) {
	err = c.call(ctx, "DELETE", "/api/v1/views/"+part(name), nil, nil, nil, &answer)
	return
}

// GetHealthLive: Check that the process responds (liveness).
func (c *Client) GetHealthLive(ctx context.Context) (answer Liveness, err error) {
	err = c.call(ctx, "GET", "/health/live", nil, nil, nil, &answer)
	return
}

// GetHealthReady: Check readiness: whether the service accepts events.
func (c *Client) GetHealthReady(ctx context.Context) (answer Readiness, err error) {
	err = c.call(ctx, "GET", "/health/ready", nil, nil, nil, &answer)
	return
}
