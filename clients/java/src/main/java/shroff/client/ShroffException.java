package shroff.client;

/** A call was not answered as it was meant to be; {@code problem} is the service's document, or null without one. */
public class ShroffException extends RuntimeException {
    private final transient Types.Problem problem;

    ShroffException(String message, Types.Problem problem) {
        super(message);
        this.problem = problem;
    }

    public Types.Problem problem() {
        return problem;
    }

    /** The event or label was refused; the same again is refused again. The problem's errors have each path. */
    public static class Refused extends ShroffException {
        Refused(String message, Types.Problem problem) {
            super(message, problem);
        }
    }

    /** The key is not known, or may not do this. */
    public static class NotAllowed extends ShroffException {
        NotAllowed(String message, Types.Problem problem) {
            super(message, problem);
        }
    }

    /** The service could not take it, for as long as it was tried. The same again, by the same id, is harmless. */
    public static class Unavailable extends ShroffException {
        Unavailable(String message, Types.Problem problem) {
            super(message, problem);
        }
    }

    /** There was no answer in time. The same event again, by the same id, is harmless. */
    public static class TimedOut extends ShroffException {
        TimedOut(String message) {
            super(message, null);
        }
    }
}
