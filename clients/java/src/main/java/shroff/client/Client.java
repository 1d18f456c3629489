package shroff.client;

import com.fasterxml.jackson.core.type.TypeReference;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;

/**
 * Calls one service with one key; may be used by several threads. An event's id makes it safe to send again: the same id
 * is decided once. Amounts are best sent as strings or BigDecimal, which lose nothing.
 */
public final class Client extends Api implements AutoCloseable {
    public static final Duration TIMEOUT = Duration.ofSeconds(10);
    private static final Duration AGAIN = Duration.ofSeconds(60);
    private static final TypeReference<Types.Decision> DECISION = new TypeReference<>() {};

    private static final int SENDERS = 4; // of events at once that were answered by a fallback

    private final Set<CompletableFuture<Types.Decision>> pending = ConcurrentHashMap.newKeySet();
    private final ExecutorService senders = Executors.newFixedThreadPool(SENDERS, Client::sender);

    /** One place of a list: a decision, or why there is none. */
    public record Result(Types.Decision decision, ShroffException.Refused refused) {}

    /**
     * An outcome, with its decision; or, where no decision came in time, the fallback: then the decision is null, the
     * event is sent again, and {@code late} is the decision to come.
     */
    public record Answer(String outcome, Types.Decision decision, CompletableFuture<Types.Decision> late) {
        public boolean isStandIn() {
            return decision == null;
        }
    }

    public Client(String url, String key) {
        this(url, key, TIMEOUT);
    }

    /** Makes a client with a time limit for whole calls, tries included. */
    public Client(String url, String key, Duration timeout) {
        super(url, key, timeout);
    }

    /** Decide one event. Throws TimedOut or Unavailable where there is no decision. */
    public Types.Decision decide(String event, Map<String, ?> fields) {
        return read(post("events", event, fields, Map.of(), timeout), DECISION);
    }

    /** Decide one event, or answer {@code otherwise} where no decision comes within a time limit. */
    public Answer decide(String event, Map<String, ?> fields, Duration timeout, String otherwise) {
        try {
            Types.Decision decision = read(post("events", event, fields, Map.of(), timeout), DECISION);
            return new Answer(decision.outcome(), decision, CompletableFuture.completedFuture(decision));
        } catch (ShroffException.TimedOut | ShroffException.Unavailable error) {
            Map<String, String> answered = Map.of("Shroff-Answered", otherwise);
            CompletableFuture<Types.Decision> late;
            try {
                late = CompletableFuture.supplyAsync(
                        () -> read(post("events", event, fields, answered, AGAIN), DECISION), senders);
            } catch (RejectedExecutionException closed) { // the answer stands all the same
                return new Answer(otherwise, null, CompletableFuture.failedFuture(error));
            }
            pending.add(late);
            late.whenComplete((decision, failure) -> pending.remove(late));
            return new Answer(otherwise, null, late);
        }
    }

    /** Decide events in order: a decision or a refusal for each. */
    public List<Result> decideMany(String event, List<? extends Map<String, ?>> many) {
        String lines = String.join("\n", many.stream().map(Transport::written).toList());
        Map<String, String> headers = Map.of("Content-Type", "application/x-ndjson");
        String found = send("POST", "/api/v1/events/" + part(event), headers, lines, timeout, true);
        List<Result> results = new ArrayList<>();
        for (String line : found.lines().toList()) {
            Map<String, Object> document = read(line, new TypeReference<>() {});
            if (document.containsKey("type")) {
                Types.Problem problem = JSON.convertValue(document, Types.Problem.class);
                results.add(new Result(null, new ShroffException.Refused(problem.detail(), problem)));
            } else {
                results.add(new Result(JSON.convertValue(document, Types.Decision.class), null));
            }
        }
        return results;
    }

    /** Score an event without writing anything. */
    public Types.Decision score(String event, Map<String, ?> fields) {
        return read(post("score", event, fields, Map.of(), timeout), DECISION);
    }

    /** Record a label of an event, such as payment/p-1; it is known now. */
    public Types.Labelled label(String event, String verdict, String source, String reason) {
        Map<String, String> body = new HashMap<>(Map.of("event", event, "verdict", verdict, "known_at", Instant.now().toString()));
        if (source != null) {
            body.put("source", source);
        }
        if (reason != null) {
            body.put("reason", reason);
        }
        Map<String, String> headers = Map.of("Shroff-Known-At", "sent");
        return read(send("POST", "/api/v1/labels", headers, body, timeout, true), new TypeReference<>() {});
    }

    /** Waits until events that were answered by a fallback are taken, for a minute at most. */
    @Override
    public void close() {
        senders.shutdown();
        try {
            senders.awaitTermination(AGAIN.toSeconds(), TimeUnit.SECONDS);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
        senders.shutdownNow();
        pending.forEach(late -> late.cancel(false));
    }

    private static Thread sender(Runnable task) {
        Thread thread = new Thread(task, "shroff sender");
        thread.setDaemon(true);
        return thread;
    }

    private String post(String verb, String event, Map<String, ?> fields, Map<String, String> headers, Duration timeout) {
        return send("POST", "/api/v1/" + verb + "/" + part(event), headers, fields, timeout, true);
    }
}
