/* What a process believes of its disk and its clock, made worse on purpose: for tests, by LD_PRELOAD.
 *
 * Steered by a file that both sides map (`surroundings.py` writes it), named by SHROFF_SURROUNDINGS, or later by a
 * call of `surroundings()`. Only files below one folder are touched, so that logs of the test itself go on.
 * As long as nothing is asked for, every call goes straight through.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MAPPED_BYTES = 4096, NO_LIMIT = -1 };

/* The same fields in the same order as `Surroundings` in surroundings.py. */
struct asked {
    int64_t clock_ms;        /* added to the wall clock */
    int64_t room_bytes;      /* by which files may still grow; NO_LIMIT where the disk is not full */
    int64_t sync_us;         /* each sync takes so much longer */
    int64_t write_us;        /* and each write */
    int64_t sync_fails;      /* the sync that so many syncs away from now fails with EIO; 0: none */
    int64_t step_kills;      /* the process dies before the write or sync that is so many away from now; 0: none */
    int64_t n_refused;       /* what was done: writes that found no room, whole or in part */
    int64_t n_slowed;        /* syncs and writes that took longer */
    int64_t n_failed;        /* syncs that failed */
    int64_t n_shifted;       /* times that the clock was asked */
    char folder[2048];       /* ends with a slash; empty: all files */
};

static struct asked nothing = {.room_bytes = NO_LIMIT};
static struct asked *asked = &nothing;

#define REAL(name) ({ static __typeof__(&name) found; if (!found) found = dlsym(RTLD_NEXT, #name); found; })
#define COUNT(field) __atomic_add_fetch(&asked->field, 1, __ATOMIC_RELAXED)
#define LOADED(field) __atomic_load_n(&asked->field, __ATOMIC_RELAXED)

/* Follow another file from now on, as a forked child does that was given surroundings of its own; 0 if it can. */
int surroundings(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return -1;
    void *mapped = mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED) return -1;
    asked = mapped;
    return 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SHROFF_SURROUNDINGS");
    if (path && *path) surroundings(path);
}

/* ---- the disk */

static int is_ours(int fd) {
    char link[32] = "/proc/self/fd/", path[2048], digits[12];
    int n = 0, at = 14;
    for (int rest = fd; n == 0 || rest; rest /= 10) digits[n++] = '0' + rest % 10;
    while (n) link[at++] = digits[--n];
    link[at] = 0;
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0 || path[0] != '/') return 0;
    path[length] = 0;
    return strncmp(path, asked->folder, strlen(asked->folder)) == 0;
}

static int is_disturbed(void) {
    return LOADED(room_bytes) != NO_LIMIT || LOADED(sync_us) || LOADED(write_us) || LOADED(sync_fails)
           || LOADED(step_kills);
}

static void slow(int64_t us) {
    if (us <= 0) return;
    COUNT(n_slowed);
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&left, &left) && errno == EINTR) {}
}

static void step(void) {
    if (LOADED(step_kills) > 0 && __atomic_sub_fetch(&asked->step_kills, 1, __ATOMIC_RELAXED) == 0)
        kill(getpid(), SIGKILL);
}

/* How many of these bytes have room; -1 with ENOSPC where none has. `at` < 0: where the file stands. */
static ssize_t room_for(int fd, size_t count, off_t at) {
    int64_t room = LOADED(room_bytes);
    struct stat found;
    if (room == NO_LIMIT || count == 0 || fstat(fd, &found) || !S_ISREG(found.st_mode)) return count;
    if (at < 0) at = fcntl(fd, F_GETFL) & O_APPEND ? found.st_size : lseek(fd, 0, SEEK_CUR);
    int64_t grows = at + (int64_t)count - found.st_size;
    if (grows <= 0) return count;
    if (grows > (int64_t)count) grows = count;
    int64_t taken = grows;
    do {
        if (room == NO_LIMIT) return count;
        taken = grows < room ? grows : room;
    } while (!__atomic_compare_exchange_n(&asked->room_bytes, &room, room - taken, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    if (taken == grows) return count;
    COUNT(n_refused);
    ssize_t fits = (ssize_t)count - (ssize_t)(grows - taken);
    if (fits > 0) return fits;
    errno = ENOSPC;
    return -1;
}

/* What stands before each write: 0 or more bytes may be written, -1 none. */
static ssize_t before_write(int fd, size_t count, off_t at) {
    if (!is_disturbed() || !is_ours(fd)) return count;
    step();
    slow(LOADED(write_us));
    return room_for(fd, count, at);
}

static int before_sync(int fd) {
    if (!is_disturbed() || !is_ours(fd)) return 0;
    step();
    slow(LOADED(sync_us));
    if (LOADED(sync_fails) > 0 && __atomic_sub_fetch(&asked->sync_fails, 1, __ATOMIC_RELAXED) == 0) {
        COUNT(n_failed);
        errno = EIO;
        return -1;
    }
    return 0;
}

static size_t bytes_of(const struct iovec *parts, int n) {
    size_t sum = 0;
    for (int i = 0; i < n; i++) sum += parts[i].iov_len;
    return sum;
}

ssize_t write(int fd, const void *data, size_t count) {
    ssize_t fits = before_write(fd, count, -1);
    return fits < 0 ? -1 : REAL(write)(fd, data, fits);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t at) {
    ssize_t fits = before_write(fd, count, at);
    return fits < 0 ? -1 : REAL(pwrite)(fd, data, fits, at);
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
    ssize_t fits = before_write(fd, count, at);
    return fits < 0 ? -1 : REAL(pwrite64)(fd, data, fits, at);
}

/* Of several parts, those that fit as a whole; the first one in part, where not even that does. */
static ssize_t in_parts(int fd, const struct iovec *parts, int n, off_t at, ssize_t fits) {
    if (fits < 0) return -1;
    if ((size_t)fits < bytes_of(parts, n)) {
        int whole = 0;
        size_t sum = 0;
        while (whole < n && sum + parts[whole].iov_len <= (size_t)fits) sum += parts[whole++].iov_len;
        if (whole == 0)
            return at < 0 ? REAL(write)(fd, parts[0].iov_base, fits) : REAL(pwrite)(fd, parts[0].iov_base, fits, at);
        n = whole;
    }
    return at < 0 ? REAL(writev)(fd, parts, n) : REAL(pwritev)(fd, parts, n, at);
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    return in_parts(fd, parts, n, -1, before_write(fd, bytes_of(parts, n), -1));
}

ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) {
    return in_parts(fd, parts, n, at, before_write(fd, bytes_of(parts, n), at));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at) {
    return in_parts(fd, parts, n, at, before_write(fd, bytes_of(parts, n), at));
}

int posix_fallocate(int fd, off_t at, off_t length) {
    if (before_write(fd, length, at) < length) return ENOSPC;
    return REAL(posix_fallocate)(fd, at, length);
}

int posix_fallocate64(int fd, off64_t at, off64_t length) {
    if (before_write(fd, length, at) < length) return ENOSPC;
    return REAL(posix_fallocate64)(fd, at, length);
}

int fallocate(int fd, int how, off_t at, off_t length) {
    if (before_write(fd, length, at) < length) { errno = ENOSPC; return -1; }
    return REAL(fallocate)(fd, how, at, length);
}

int fallocate64(int fd, int how, off64_t at, off64_t length) {
    if (before_write(fd, length, at) < length) { errno = ENOSPC; return -1; }
    return REAL(fallocate64)(fd, how, at, length);
}

int fsync(int fd) { return before_sync(fd) ? -1 : REAL(fsync)(fd); }

int fdatasync(int fd) { return before_sync(fd) ? -1 : REAL(fdatasync)(fd); }

/* ---- the clock */

static void shift(struct timespec *now) {
    int64_t ms = LOADED(clock_ms);
    if (!ms) return;
    COUNT(n_shifted);
    now->tv_sec += ms / 1000;
    now->tv_nsec += ms % 1000 * 1000000;
    if (now->tv_nsec >= 1000000000) { now->tv_sec++; now->tv_nsec -= 1000000000; }
    if (now->tv_nsec < 0) { now->tv_sec--; now->tv_nsec += 1000000000; }
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int failed = REAL(clock_gettime)(which, now);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE || which == CLOCK_TAI)) shift(now);
    return failed;
}

int timespec_get(struct timespec *now, int base) {
    int found = REAL(timespec_get)(now, base);
    if (found == TIME_UTC) shift(now);
    return found;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = REAL(gettimeofday)(now, zone);
    if (failed) return failed;
    struct timespec shifted = {now->tv_sec, now->tv_usec * 1000};
    shift(&shifted);
    now->tv_sec = shifted.tv_sec;
    now->tv_usec = shifted.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}

/* Waits until a time of the wall clock are the kernel's, which knows nothing of us: shifted back. A time before 2001
 * is one of the clock that counts from the start of the machine, and stays. */
static const struct timespec *kernel_time(const struct timespec *until, struct timespec *room) {
    int64_t ms = LOADED(clock_ms);
    if (!ms || !until || until->tv_sec < 1000000000) return until;
    *room = *until;
    room->tv_sec -= ms / 1000;
    room->tv_nsec -= ms % 1000 * 1000000;
    if (room->tv_nsec >= 1000000000) { room->tv_sec++; room->tv_nsec -= 1000000000; }
    if (room->tv_nsec < 0) { room->tv_sec--; room->tv_nsec += 1000000000; }
    return room;
}

int sem_timedwait(sem_t *restrict held, const struct timespec *restrict until) {
    struct timespec room;
    return REAL(sem_timedwait)(held, kernel_time(until, &room));
}

int pthread_cond_timedwait(pthread_cond_t *restrict met, pthread_mutex_t *restrict held,
                           const struct timespec *restrict until) {
    static __typeof__(&pthread_cond_timedwait) real;
    struct timespec room;
    if (!real) real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2"); /* before it: another condition */
    if (!real) real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    return real(met, held, kernel_time(until, &room));
}
