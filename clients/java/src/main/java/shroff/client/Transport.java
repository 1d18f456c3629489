package shroff.client;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpTimeoutException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.StringJoiner;

/** Requests to a service: time limits, tries again, and errors. */
public class Transport {
    static final ObjectMapper JSON =
            new ObjectMapper().configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false);
    private static final Duration LONGEST_WAIT = Duration.ofSeconds(5);
    private static final Set<String> NOT_REPEATABLE = Set.of("POST", "PATCH");
    // Options whose name begins with a capital letter are headers.

    private final String url;
    private final String key;
    final Duration timeout;
    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    Transport(String url, String key, Duration timeout) {
        this.url = url.replaceAll("/$", "");
        this.key = key;
        this.timeout = timeout;
    }

    /** Percent-encode a text as one segment of a path. `.` and `..` are refused: they would leave the route. */
    static String part(String text) {
        if (text.equals(".") || text.equals("..")) {
            throw new ShroffException.Refused("'" + text + "' cannot be a segment of a URL path. Nothing was sent.", null);
        }
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
    }

    <T> T call(String method, String path, Map<String, String> options, Object body, TypeReference<T> type) {
        return read(send(method, path, options, body, timeout, !NOT_REPEATABLE.contains(method)), type);
    }

    static <T> T read(String text, TypeReference<T> type) {
        try {
            return JSON.readValue(text, type);
        } catch (JsonProcessingException error) {
            throw new ShroffException("the service answered something else than was asked: " + error.getMessage(), null);
        }
    }

    static String written(Object body) {
        try {
            return JSON.writeValueAsString(body);
        } catch (JsonProcessingException error) {
            throw new IllegalArgumentException(error);
        }
    }

    /** Send a request until it is answered or the time is over. What the service did not take is sent again. */
    String send(
            String method,
            String path,
            Map<String, String> options,
            Object body,
            Duration timeout,
            boolean isRepeatable) {
        long end = System.nanoTime() + timeout.toNanos();
        String name = method + " " + path;
        for (int tries = 0; ; tries++) {
            long left = end - System.nanoTime();
            if (left <= 0) {
                throw new ShroffException.TimedOut(name + ": no answer in time");
            }
            ShroffException failure;
            Duration wait = shorter(Duration.ofMillis(100L << Math.min(tries, 10)), LONGEST_WAIT);
            try {
                HttpResponse<String> answer =
                        http.send(request(method, path, options, body, Duration.ofNanos(left)), HttpResponse.BodyHandlers.ofString());
                if (answer.statusCode() < 300) {
                    return answer.body();
                }
                failure = failure(answer.statusCode(), answer.body());
                if (!(failure instanceof ShroffException.Unavailable)) {
                    throw failure;
                }
                String told = answer.headers().firstValue("retry-after").orElse("");
                if (told.matches("[1-9][0-9]{0,8}")) {
                    wait = shorter(Duration.ofSeconds(Long.parseLong(told)), LONGEST_WAIT);
                }
            } catch (HttpTimeoutException error) {
                throw new ShroffException.TimedOut(name + ": no answer in time");
            } catch (IOException error) {
                failure = new ShroffException.Unavailable(name + ": " + error, null);
                if (!isRepeatable) { // it may have been taken
                    throw failure;
                }
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
                throw new ShroffException.TimedOut(name + ": interrupted");
            }
            if (System.nanoTime() + wait.toNanos() >= end) {
                throw failure;
            }
            try {
                Thread.sleep(wait.toMillis());
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
                throw failure;
            }
        }
    }

    private HttpRequest request(
            String method, String path, Map<String, String> options, Object body, Duration timeout) {
        StringJoiner query = new StringJoiner("&", "?", "").setEmptyValue("");
        HttpRequest.Builder built = HttpRequest.newBuilder().timeout(timeout).header("Authorization", "Bearer " + key);
        boolean isLines = false;
        for (Map.Entry<String, String> option : options.entrySet()) {
            if (Character.isUpperCase(option.getKey().charAt(0))) {
                built.header(option.getKey(), option.getValue());
                isLines |= option.getKey().equals("Content-Type");
            } else {
                query.add(part(option.getKey()) + "=" + part(option.getValue()));
            }
        }
        if (body == null) {
            built.method(method, HttpRequest.BodyPublishers.noBody());
        } else {
            built.method(method, HttpRequest.BodyPublishers.ofString(body instanceof String text ? text : written(body)));
            if (!isLines) {
                built.header("Content-Type", "application/json");
            }
        }
        return built.uri(URI.create(url + path + query)).build();
    }

    private static Duration shorter(Duration one, Duration other) {
        return one.compareTo(other) < 0 ? one : other;
    }

    /** The error that an answer stands for. */
    static ShroffException failure(int status, String body) {
        Types.Problem problem = null;
        try {
            problem = JSON.readValue(body, Types.Problem.class);
        } catch (JsonProcessingException error) {
            // as it is said below
        }
        String detail =
                problem == null ? "the answer is no problem document; is this a shroff service?" : problem.detail();
        String words = (problem == null ? "HTTP" : problem.title()) + " (" + status + "): " + detail;
        return switch (status) {
            case 401, 403 -> new ShroffException.NotAllowed(words, problem);
            case 409, 413, 415, 422 -> new ShroffException.Refused(words, problem);
            case 429, 503 -> new ShroffException.Unavailable(words, problem);
            default -> new ShroffException(words, problem);
        };
    }
}
