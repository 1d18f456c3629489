// What the test asks of the client of TypeScript, as one JSON document.
import { Client, NotAllowedError, RefusedError } from "./dist/client.js";

const [url, key, elsewhere] = process.argv.slice(2);
const client = new Client(url, key);
const paid = (id, amount = "12.50") => ({
  payment_id: id, paid_at: "2026-01-05T08:30:00Z", card: "c-1", merchant: "m/1", amount, country: "DE", channel: "web",
});
const kindOf = async (call) => call.then(() => "", (error) => [error.constructor, error.problem.errors?.[0]?.path]);

const once = await client.decide("payment", paid("ts-1"));
const again = await client.decide("payment", paid("ts-1"));
const [other] = await kindOf(client.decide("payment", paid("ts-1", "13.50")));
const [refused, path] = await kindOf(client.decide("payment", paid("ts-2", "-1")));
const [dots] = await kindOf((async () => client.getEntitiesEntityKey("..", "users", {}))());
const [strange] = await kindOf(new Client(url, "shroff_wrong").decide("payment", paid("ts-3")));
const many = await client.decideMany("payment", [paid("ts-1"), paid("ts-4", "x"), paid("ts-5")]);
const label = await client.label("payment/ts-1", "fraud", { source: "analyst" });
const shop = await client.getEntitiesEntityKey("merchant", "m/1", { limit: "10" });
const faulty = new Client(elsewhere, key);
const retried = await faulty.decide("busy", paid("ts-1"));
const began = Date.now();
const late = await faulty.decide("silent", paid("ts-1"), { timeoutMs: 2_000, otherwise: "review" });
const result = {
  receipts: [once.receipt, again.receipt], seqs: [once.seq, again.seq],
  taken: other === RefusedError, refused: refused === RefusedError, dots: dots === RefusedError, path, strange: strange === NotAllowedError,
  many: many.map((each) => (each instanceof RefusedError ? "refused" : each.outcome)), label: label.state,
  events: shop.timeline.length, retried: retried.outcome,
  late: [late.outcome, late.isStandIn], waited: (Date.now() - began) / 1_000,
};
process.stdout.write(JSON.stringify(result), () => process.exit(0));
