// What the test asks of the client of Java, as one JSON document.

import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import shroff.client.Client;
import shroff.client.ShroffException;
import shroff.client.Types;

public final class Check {
    static Map<String, String> paid(String id, String amount) {
        return Map.of(
                "payment_id", id, "paid_at", "2026-01-05T08:30:00Z", "card", "c-1", "merchant", "m/1",
                "amount", amount, "country", "DE", "channel", "web");
    }

    static ShroffException failure(Runnable call) {
        try {
            call.run();
            return null;
        } catch (ShroffException error) {
            return error;
        }
    }

    public static void main(String[] args) throws Exception {
        Client client = new Client(args[0], args[1]);
        Types.Decision once = client.decide("payment", paid("java-1", "12.50"));
        Types.Decision again = client.decide("payment", paid("java-1", "12.50"));
        ShroffException other = failure(() -> client.decide("payment", paid("java-1", "13.50")));
        ShroffException refused = failure(() -> client.decide("payment", paid("java-2", "-1")));
        ShroffException dots = failure(() -> client.getEntitiesEntityKey("..", "users", Map.of()));
        Client stranger = new Client(args[0], "shroff_wrong");
        ShroffException strange = failure(() -> stranger.decide("payment", paid("java-3", "1")));
        List<Map<String, String>> several = List.of(paid("java-1", "12.50"), paid("java-4", "x"), paid("java-5", "12.50"));
        List<String> many = client.decideMany("payment", several).stream()
                .map(result -> result.refused() != null ? "refused" : result.decision().outcome())
                .toList();
        Types.Labelled label = client.label("payment/java-1", "fraud", "analyst", null);
        Types.EntityView shop = client.getEntitiesEntityKey("merchant", "m/1", Map.of("limit", "10"));
        Client faulty = new Client(args[2], args[1]);
        Types.Decision retried = faulty.decide("busy", paid("java-1", "12.50"));
        long began = System.nanoTime();
        Client.Answer late = faulty.decide("silent", paid("java-1", "12.50"), Duration.ofSeconds(2), "review");
        Map<String, Object> result = new HashMap<>();
        result.put("receipts", List.of(once.receipt(), again.receipt()));
        result.put("seqs", List.of(once.seq(), again.seq()));
        result.put("taken", other instanceof ShroffException.Refused);
        result.put("refused", refused instanceof ShroffException.Refused);
        result.put("dots", dots instanceof ShroffException.Refused);
        result.put("path", refused.problem().errors().get(0).path());
        result.put("strange", strange instanceof ShroffException.NotAllowed);
        result.put("many", many);
        result.put("label", label.state());
        result.put("events", shop.timeline().size());
        result.put("retried", retried.outcome());
        result.put("late", List.of(late.outcome(), late.isStandIn()));
        long senders = Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> thread.getName().equals("shroff sender")).count();
        result.put("senders", senders);
        result.put("waited", (System.nanoTime() - began) / 1e9);
        System.out.println(new ObjectMapper().writeValueAsString(result));
        System.exit(0); // the event that got no answer is still sent again
    }
}
