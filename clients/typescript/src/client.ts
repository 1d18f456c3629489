/** A client of shroff for Node 20 or newer, Deno, Bun and browsers. */

import { Api, type Decision, type Labelled, type Undecided } from "./api.js";
import { part, type ProblemDocument, RefusedError, TimedOutError, UnavailableError } from "./transport.js";

export * from "./api.js";
export * from "./transport.js";

export type Outcome = "approve" | "challenge" | "review" | "decline";
/** The fields of an event, its id among them. Amounts are best sent as strings, which lose nothing. */
export type Fields = Record<string, unknown>;
export type Answer = Decision | Undecided;

/** What is answered where no decision came in time. The event is sent again; `late` is the decision to come. */
export interface StandIn {
  event: string;
  outcome: Outcome;
  isStandIn: true;
  late: Promise<Answer>;
}

export interface DecideOptions {
  timeoutMs?: number;
  /** The outcome to answer where no decision comes in time, or the service cannot take the event. */
  otherwise?: Outcome;
}

const AGAIN_MS = 60_000;

/** Calls one service with one key. An event's id makes it safe to send again: the same id is decided once. */
export class Client extends Api {
  private readonly pending = new Set<Promise<unknown>>();

  /** Decide one event. Without `otherwise` it throws TimedOutError or UnavailableError where there is no decision. */
  async decide(event: string, fields: Fields, options: DecideOptions & { otherwise: Outcome }): Promise<Answer | StandIn>;
  async decide(event: string, fields: Fields, options?: DecideOptions): Promise<Answer>;
  async decide(event: string, fields: Fields, options: DecideOptions = {}): Promise<Answer | StandIn> {
    const { timeoutMs, otherwise } = options;
    try {
      return await this.post<Answer>("events", event, fields, {}, timeoutMs);
    } catch (error) {
      if (otherwise === undefined || !(error instanceof TimedOutError || error instanceof UnavailableError)) throw error;
    }
    const late = this.post<Answer>("events", event, fields, { "shroff-answered": otherwise }, AGAIN_MS);
    const kept = late.catch(() => undefined).finally(() => this.pending.delete(kept));
    this.pending.add(kept);
    return { event, outcome: otherwise, isStandIn: true, late };
  }

  /** Decide events in order: a decision or a refusal for each. */
  async decideMany(event: string, many: Fields[], timeoutMs?: number): Promise<(Answer | RefusedError)[]> {
    const body = many.map((fields) => JSON.stringify(fields)).join("\n");
    const headers = { "content-type": "application/x-ndjson" };
    const path = `/api/v1/events/${part(event)}`;
    const lines = await this.send("POST", path, { body, headers, timeoutMs, isRepeatable: true });
    return lines
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const found = JSON.parse(line) as Answer | ProblemDocument;
        if (!("type" in found)) return found as Answer;
        return new RefusedError(String(found.detail), found as ProblemDocument);
      });
  }

  /** Score an event without writing anything. */
  score(event: string, fields: Fields, timeoutMs?: number): Promise<Answer> {
    return this.post<Answer>("score", event, fields, {}, timeoutMs);
  }

  /** Record a label of an event, such as payment/p-1. It is known now, where `knownAt` is not given. */
  label(
    event: string,
    verdict: "fraud" | "genuine" | "unclear",
    more: { source?: string; reason?: string; knownAt?: Date } = {},
  ): Promise<Labelled> {
    const headers = more.knownAt === undefined ? { "shroff-known-at": "sent" } : {};
    const known_at = (more.knownAt ?? new Date()).toISOString();
    const body = { event, verdict, known_at, source: more.source, reason: more.reason };
    return this.call<Labelled>("POST", "/api/v1/labels", { body, headers, isRepeatable: true });
  }

  /** Wait until events that were answered by a stand-in are taken. */
  async close(): Promise<void> {
    await Promise.all(this.pending);
  }

  private post<Given>(verb: string, event: string, body: Fields, headers: Record<string, string>, timeoutMs?: number): Promise<Given> {
    const path = `/api/v1/${verb}/${part(event)}`;
    return this.call<Given>("POST", path, { body, headers, timeoutMs, isRepeatable: true });
  }
}

