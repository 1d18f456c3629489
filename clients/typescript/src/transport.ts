/** Requests to a service: time limits, tries again, and errors. */

/** A problem document of the service (RFC 9457). */
export interface ProblemDocument {
  type?: string;
  title?: string;
  status: number;
  detail?: string;
  errors?: { path: string; detail: string }[];
  [more: string]: unknown;
}

/** A call was not answered as it was meant to be; `problem` is the service's document, where there was one. */
export class ShroffError extends Error {
  constructor(message: string, readonly problem: ProblemDocument = { status: 0 }) {
    super(message);
    this.name = new.target.name;
  }
}
/** The event or label was refused; the same again is refused again. `problem.errors` has the path of each mistake. */
export class RefusedError extends ShroffError {}
/** The key is not known, or may not do this. */
export class NotAllowedError extends ShroffError {}
/** The service could not take it, for as long as it was tried. The same again, by the same id, is harmless. */
export class UnavailableError extends ShroffError {}
/** There was no answer in time. The same event again, by the same id, is harmless. */
export class TimedOutError extends ShroffError {}

export interface CallOptions {
  query?: Record<string, string | undefined>;
  headers?: Record<string, string | undefined>;
  body?: unknown;
  /** Milliseconds for the whole call, tries included. */
  timeoutMs?: number;
  /** Whether the same again is harmless. Default: all but POST and PATCH. */
  isRepeatable?: boolean;
}

const LONGEST_WAIT_MS = 5_000;

/** Percent-encode a text as one segment of a path. `.` and `..` are refused: they would leave the route. */
export function part(text: string): string {
  if (text === "." || text === "..") {
    throw new RefusedError(`'${text}' cannot be a segment of a URL path. Nothing was sent.`);
  }
  return encodeURIComponent(text);
}

export class Transport {
  /** @param url of the service, such as http://localhost:8080; `key` as `shroff keys create` showed it. */
  constructor(readonly url: string, private readonly key: string, readonly timeoutMs = 10_000) {}

  /** Send a request until it is answered or the time is over. What the service did not take is sent again. */
  async call<Answer>(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
    const text = await this.send(method, path, options);
    return JSON.parse(text) as Answer;
  }

  protected async send(method: string, path: string, options: CallOptions): Promise<string> {
    const end = Date.now() + (options.timeoutMs ?? this.timeoutMs);
    const isRepeatable = options.isRepeatable ?? !["POST", "PATCH"].includes(method);
    const name = `${method} ${path}`;
    for (let tries = 0; ; tries++) {
      const left = end - Date.now();
      if (left <= 0) throw new TimedOutError(`${name}: no answer in time`);
      let failure: ShroffError;
      let waitMs = Math.min(100 * 2 ** tries, LONGEST_WAIT_MS);
      try {
        const answer = await this.request(method, path, options, left);
        const body = await answer.text();
        if (answer.ok) return body;
        failure = problemOf(answer.status, body);
        if (!(failure instanceof UnavailableError)) throw failure;
        const told = Number(answer.headers.get("retry-after"));
        if (told > 0) waitMs = Math.min(told * 1_000, LONGEST_WAIT_MS);
      } catch (error) {
        if (error instanceof ShroffError) throw error;
        if ((error as Error).name === "TimeoutError") throw new TimedOutError(`${name}: no answer in time`);
        failure = new UnavailableError(`${name}: ${(error as Error).message}`);
        if (!isRepeatable) throw failure; // it may have been taken
      }
      if (Date.now() + waitMs >= end) throw failure;
      await new Promise((done) => setTimeout(done, waitMs));
    }
  }

  private request(method: string, path: string, options: CallOptions, timeoutMs: number): Promise<Response> {
    const url = new URL(this.url.replace(/\/$/, "") + path);
    for (const [name, value] of Object.entries(options.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, value);
    }
    const headers: Record<string, string> = { authorization: `Bearer ${this.key}` };
    for (const [name, value] of Object.entries(options.headers ?? {})) {
      if (value !== undefined) headers[name] = value;
    }
    let body: string | undefined;
    if (options.body !== undefined) {
      headers["content-type"] ??= "application/json";
      body = typeof options.body === "string" ? options.body : JSON.stringify(options.body);
    }
    return fetch(url, { method, headers, body, signal: AbortSignal.timeout(timeoutMs) });
  }
}

/** The error that an answer stands for. */
export function problemOf(status: number, body: string): ShroffError {
  let problem: ProblemDocument = { status, detail: "the answer is no problem document; is this a shroff service?" };
  try {
    problem = JSON.parse(body) as ProblemDocument;
  } catch {
    // as it stands above
  }
  const words = `${problem.title ?? "HTTP"} (${status}): ${problem.detail ?? ""}`;
  if (status === 401 || status === 403) return new NotAllowedError(words, problem);
  if ([409, 413, 415, 422].includes(status)) return new RefusedError(words, problem);
  if (status === 429 || status === 503) return new UnavailableError(words, problem);
  return new ShroffError(words, problem);
}
