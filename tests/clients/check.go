// What the test asks of the client of Go, as one JSON document.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	shroff "shroff.example/shroff/clients/go"
)

func paid(id, amount string) shroff.Fields {
	return shroff.Fields{
		"payment_id": id, "paid_at": "2026-01-05T08:30:00Z", "card": "c-1", "merchant": "m/1", "amount": amount,
		"country": "DE", "channel": "web",
	}
}

func must[T any](found T, err error) T {
	if err != nil {
		panic(err)
	}
	return found
}

func main() {
	ctx, url, key := context.Background(), os.Args[1], os.Args[2]
	client := shroff.New(url, key, 0)
	once := must(client.Decide(ctx, "payment", paid("go-1", "12.50"), ""))
	again := must(client.Decide(ctx, "payment", paid("go-1", "12.50"), ""))
	_, other := client.Decide(ctx, "payment", paid("go-1", "13.50"), "")
	_, refused := client.Decide(ctx, "payment", paid("go-2", "-1"), "")
	var problem *shroff.Error
	errors.As(refused, &problem)
	_, dots := client.GetEntitiesEntityKey(ctx, "..", "users", shroff.GetEntitiesEntityKeyOptions{})
	_, strange := shroff.New(url, "shroff_wrong", 0).Decide(ctx, "payment", paid("go-3", "1"), "")
	several := []shroff.Fields{paid("go-1", "12.50"), paid("go-4", "x"), paid("go-5", "12.50")}
	many := []string{}
	for _, result := range must(client.DecideMany(ctx, "payment", several)) {
		if result.Err != nil {
			many = append(many, "refused")
		} else {
			many = append(many, result.Outcome)
		}
	}
	event, source := "payment/go-1", "analyst"
	label := must(client.AddLabel(ctx, shroff.Label{Event: &event, Verdict: "fraud", Source: &source}))
	shop := must(client.GetEntitiesEntityKey(ctx, "merchant", "m/1", shroff.GetEntitiesEntityKeyOptions{Limit: "10"}))
	faulty := shroff.New(os.Args[3], key, 0)
	retried := must(faulty.Decide(ctx, "busy", paid("go-1", "12.50"), ""))
	began := time.Now()
	soon, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	late := must(faulty.Decide(soon, "silent", paid("go-1", "12.50"), "review"))
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"receipts": []string{once.Receipt, again.Receipt}, "seqs": []int64{*once.Seq, *again.Seq},
		"taken": errors.Is(other, shroff.ErrRefused), "refused": errors.Is(refused, shroff.ErrRefused),
		"dots": errors.Is(dots, shroff.ErrRefused),
		"path": problem.Problem.Errors[0].Path, "strange": errors.Is(strange, shroff.ErrNotAllowed), "many": many,
		"label": label.State, "events": len(shop.Timeline), "retried": retried.Outcome,
		"late": []any{late.Outcome, late.IsStandIn}, "waited": time.Since(began).Seconds(),
	})
}
