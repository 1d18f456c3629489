// Package shroff is a client of shroff: decisions with retries and a fallback, labels, and every operation of the
// service. An event's id makes it safe to send again: the same id is decided once.
package shroff

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultTimeout is for a whole call, tries included.
	DefaultTimeout = 10 * time.Second
	againFor       = 60 * time.Second
	longestWait    = 5 * time.Second
)

// Kinds of failures, for errors.Is.
var (
	ErrRefused     = errors.New("refused")     // the same again is refused again
	ErrNotAllowed  = errors.New("not allowed") // the key is not known, or may not do this
	ErrUnavailable = errors.New("unavailable") // it was tried again until there was no more time
	ErrTimedOut    = errors.New("no answer in time")
)

// Error is a call that was not answered as it was meant to be.
type Error struct {
	Kind    error   // one of the kinds above, or nil
	Problem Problem // the service's document; Status is 0 where there was none
	words   string
}

func (e *Error) Error() string { return e.words }
func (e *Error) Unwrap() error { return e.Kind }

// Fields are those of an event, its id among them. Amounts are best sent as strings, which lose nothing.
type Fields map[string]any

// Answer is a decision, or what is answered in its place.
type Answer struct {
	Decision
	// IsStandIn says that no decision came in time: Outcome is the fallback, and the event is sent again.
	IsStandIn bool `json:"-"`
	// Late gets the decision of a stand-in; it is closed without one where there was none within a minute.
	Late <-chan Decision `json:"-"`
}

// Result is one place of a list: a decision, or why there is none.
type Result struct {
	Decision
	Err error
}

// Client calls one service with one key. It may be used by several goroutines.
type Client struct {
	url, key string
	http     *http.Client
	timeout  time.Duration
	pending  sync.WaitGroup
}

// New makes a client of the service at a URL, such as http://localhost:8080, with a key as `shroff keys create` showed
// it. A timeout of 0 is DefaultTimeout.
func New(url, key string, timeout time.Duration) *Client {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Client{url: strings.TrimSuffix(url, "/"), key: key, http: &http.Client{}, timeout: timeout}
}

// Decide decides one event. Otherwise is the outcome to answer where no decision comes in time or the service cannot
// take the event; if it is empty, that is an error. A deadline of the context is shorter than the client's timeout.
func (c *Client) Decide(ctx context.Context, event string, fields Fields, otherwise string) (Answer, error) {
	path := "/api/v1/events/" + part(event)
	var answer Answer
	err := c.repeat(ctx, c.timeout, "POST", path, nil, nil, fields, &answer.Decision)
	if err == nil || otherwise == "" || !(errors.Is(err, ErrTimedOut) || errors.Is(err, ErrUnavailable)) {
		return answer, err
	}
	late := make(chan Decision, 1)
	c.pending.Add(1)
	go func() {
		defer c.pending.Done()
		defer close(late)
		var decision Decision
		answered := map[string]string{"Shroff-Answered": otherwise}
		if c.repeat(context.WithoutCancel(ctx), againFor, "POST", path, nil, answered, fields, &decision) == nil {
			late <- decision
		}
	}()
	return Answer{Decision: Decision{Event: event, Outcome: otherwise}, IsStandIn: true, Late: late}, nil
}

// DecideMany decides events in order and gives a result for each.
func (c *Client) DecideMany(ctx context.Context, event string, many []Fields) ([]Result, error) {
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, fields := range many {
		if err := encoder.Encode(fields); err != nil {
			return nil, err
		}
	}
	var found []byte
	headers := map[string]string{"Content-Type": "application/x-ndjson"}
	err := c.repeat(ctx, c.timeout, "POST", "/api/v1/events/"+part(event), nil, headers, lines.Bytes(), &found)
	if err != nil {
		return nil, err
	}
	var results []Result
	for _, line := range bytes.Split(bytes.TrimSpace(found), []byte("\n")) {
		var result Result
		var problem Problem
		if json.Unmarshal(line, &problem) == nil && problem.Type != "" {
			result.Err = failure(int(problem.Status), line)
		} else if err := json.Unmarshal(line, &result.Decision); err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// Score scores an event without writing anything.
func (c *Client) Score(ctx context.Context, event string, fields Fields) (decision Decision, err error) {
	err = c.repeat(ctx, c.timeout, "POST", "/api/v1/score/"+part(event), nil, nil, fields, &decision)
	return
}

// AddLabel records a label. One without KnownAt is known now.
func (c *Client) AddLabel(ctx context.Context, label Label) (labelled Labelled, err error) {
	var headers map[string]string
	if label.KnownAt == nil {
		label.KnownAt = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
		headers = map[string]string{"Shroff-Known-At": "sent"}
	}
	err = c.repeat(ctx, c.timeout, "POST", "/api/v1/labels", nil, headers, label, &labelled)
	return
}

// Close waits until events that were answered by a stand-in are taken, for a minute at most.
func (c *Client) Close() { c.pending.Wait() }

// part percent-encodes a text as one segment of a path. send refuses the segments "." and "..".
func part(text string) string { return url.PathEscape(text) }

// call sends a request once if the same again might do harm and the service may have taken it.
func (c *Client) call(ctx context.Context, method, path string, query, headers map[string]string, body, answer any) error {
	return c.send(ctx, c.timeout, method != "POST" && method != "PATCH", method, path, query, headers, body, answer)
}

func (c *Client) repeat(ctx context.Context, timeout time.Duration, method, path string, query, headers map[string]string, body, answer any) error {
	return c.send(ctx, timeout, true, method, path, query, headers, body, answer)
}

func (c *Client) send(ctx context.Context, timeout time.Duration, isRepeatable bool, method, path string, query, headers map[string]string, body, answer any) error {
	for _, segment := range strings.Split(path, "/") {
		if segment == "." || segment == ".." {
			return &Error{Kind: ErrRefused, words: "'" + segment + "' cannot be a segment of a URL path. Nothing was sent."}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	sent, isText := body.([]byte)
	if !isText && body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return err
		}
	}
	end, _ := ctx.Deadline()
	for tries := 0; ; tries++ {
		status, told, found, err := c.request(ctx, method, path, query, headers, sent)
		var failed error
		switch {
		case ctx.Err() != nil:
			return &Error{Kind: ErrTimedOut, words: method + " " + path + ": no answer in time"}
		case err != nil:
			failed = &Error{Kind: ErrUnavailable, words: method + " " + path + ": " + err.Error()}
			if !isRepeatable { // it may have been taken
				return failed
			}
		case status < 300:
			if text, ok := answer.(*[]byte); ok {
				*text = found
				return nil
			}
			return json.Unmarshal(found, answer)
		default:
			failed = failure(status, found)
			if !errors.Is(failed, ErrUnavailable) {
				return failed
			}
		}
		wait := min(100*time.Millisecond<<min(tries, 10), longestWait)
		if told > 0 {
			wait = min(told, longestWait)
		}
		if time.Now().Add(wait).After(end) {
			return failed
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (c *Client) request(ctx context.Context, method, path string, query, headers map[string]string, body []byte) (int, time.Duration, []byte, error) {
	asked := url.Values{}
	for name, value := range query {
		if value != "" {
			asked.Set(name, value)
		}
	}
	address := c.url + path
	if len(asked) > 0 {
		address += "?" + asked.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.key)
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range headers {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return 0, 0, nil, err
	}
	defer answer.Body.Close()
	found, err := io.ReadAll(answer.Body)
	seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
	return answer.StatusCode, time.Duration(seconds) * time.Second, found, err
}

// failure is the error that an answer stands for.
func failure(status int, body []byte) error {
	problem := Problem{Status: int64(status), Title: "HTTP"}
	if json.Unmarshal(body, &problem) != nil {
		problem.Detail = "the answer is no problem document; is this a shroff service?"
	}
	found := &Error{Problem: problem, words: fmt.Sprintf("%s (%d): %s", problem.Title, status, problem.Detail)}
	switch status {
	case 401, 403:
		found.Kind = ErrNotAllowed
	case 409, 413, 415, 422:
		found.Kind = ErrRefused
	case 429, 503:
		found.Kind = ErrUnavailable
	}
	return found
}
