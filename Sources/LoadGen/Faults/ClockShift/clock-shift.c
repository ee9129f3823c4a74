// A wall clock that can be set, for one process and without root: preload this library, and CLOCK_REALTIME runs by as many
// nanoseconds ahead or behind as the file named by CLOCK_SHIFT_FILE says (one signed 64-bit number, in the machine's order).
// The file is mapped, so a change of it counts at once. Waits that end at a time of that clock end by the shifted one, also
// when it is set while they wait. Every other clock, and every wait that counts on one, is left alone.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { second = 1000000000 };
// A wait looks at the file again after this long.
static const int64_t slice = 10000000;
// Bit 1 of glibc's condition says that its waits count on the monotonic clock (since glibc 2.25).
static const unsigned condition_is_monotonic = 2;

static const volatile int64_t *shift;

__attribute__((constructor)) static void open_shift(void) {
    const char *path = getenv("CLOCK_SHIFT_FILE");
    if (!path) return;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return;
    void *memory = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (memory != MAP_FAILED) shift = memory;
}

static int64_t offset(void) { return shift ? *shift : 0; }

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }
#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))next(#name)

static int64_t count(const struct timespec *time) { return (int64_t)time->tv_sec * second + time->tv_nsec; }

static struct timespec span(int64_t nanoseconds) {
    struct timespec time = {nanoseconds / second, nanoseconds % second};
    if (time.tv_nsec < 0) {
        time.tv_nsec += second;
        time.tv_sec -= 1;
    }
    return time;
}

static int real_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    return real(clock, time);
}

static int64_t real_now(void) {
    struct timespec time;
    real_gettime(CLOCK_REALTIME, &time);
    return count(&time);
}

static int is_wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

int clock_gettime(clockid_t clock, struct timespec *time) {
    int outcome = real_gettime(clock, time);
    if (outcome == 0 && is_wall(clock)) *time = span(count(time) + offset());
    return outcome;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    REAL(gettimeofday);
    int outcome = real(time, zone);
    if (outcome == 0) {
        struct timespec now = span((int64_t)time->tv_sec * second + time->tv_usec * 1000 + offset());
        time->tv_sec = now.tv_sec;
        time->tv_usec = now.tv_nsec / 1000;
    }
    return outcome;
}

time_t time(time_t *out) {
    time_t now = span(real_now() + offset()).tv_sec;
    if (out) *out = now;
    return now;
}

int timespec_get(struct timespec *time, int base) {
    if (base != TIME_UTC) {
        REAL(timespec_get);
        return real(time, base);
    }
    *time = span(real_now() + offset());
    return base;
}

// The next moment of the real clock at which to look again, and whether the shifted deadline lies at or before it.
static struct timespec next_look(const struct timespec *deadline, int *is_last) {
    int64_t now = real_now();
    int64_t end = count(deadline) - offset();
    *is_last = end <= now + slice;
    return span(*is_last ? end : now + slice);
}

static int is_due(const struct timespec *deadline) { return real_now() + offset() >= count(deadline); }

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    REAL(sem_timedwait);
    if (deadline->tv_nsec < 0 || deadline->tv_nsec >= second) return real(semaphore, deadline);
    for (;;) {
        int is_last;
        struct timespec look = next_look(deadline, &is_last);
        if (look.tv_sec < 0) look = span(0);
        int outcome = real(semaphore, &look);
        if (outcome == 0 || errno != ETIMEDOUT || is_due(deadline)) return outcome;
    }
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict deadline) {
    if (clock == CLOCK_REALTIME) return sem_timedwait(semaphore, deadline);
    REAL(sem_clockwait);
    return real(semaphore, clock, deadline);
}

static int wait_by_wall(
    int (*wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *), pthread_cond_t *condition,
    pthread_mutex_t *mutex, const struct timespec *deadline) {
    for (;;) {
        int is_last;
        struct timespec look = next_look(deadline, &is_last);
        if (look.tv_sec < 0) look = span(0);
        int outcome = wait(condition, mutex, &look);
        if (outcome != ETIMEDOUT || is_due(deadline)) return outcome;
    }
}

int pthread_cond_timedwait(
    pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict deadline) {
    REAL(pthread_cond_timedwait);
    int is_monotonic = condition->__data.__wrefs & condition_is_monotonic;
    if (is_monotonic || deadline->tv_nsec < 0 || deadline->tv_nsec >= second) return real(condition, mutex, deadline);
    return wait_by_wall(real, condition, mutex, deadline);
}

int pthread_cond_clockwait(
    pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, clockid_t clock,
    const struct timespec *restrict deadline) {
    REAL(pthread_cond_clockwait);
    if (clock != CLOCK_REALTIME || deadline->tv_nsec < 0 || deadline->tv_nsec >= second) {
        return real(condition, mutex, clock, deadline);
    }
    for (;;) {
        int is_last;
        struct timespec look = next_look(deadline, &is_last);
        if (look.tv_sec < 0) look = span(0);
        int outcome = real(condition, mutex, clock, &look);
        if (outcome != ETIMEDOUT || is_due(deadline)) return outcome;
    }
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict deadline) {
    REAL(pthread_mutex_timedlock);
    if (deadline->tv_nsec < 0 || deadline->tv_nsec >= second) return real(mutex, deadline);
    for (;;) {
        int is_last;
        struct timespec look = next_look(deadline, &is_last);
        if (look.tv_sec < 0) look = span(0);
        int outcome = real(mutex, &look);
        if (outcome != ETIMEDOUT || is_due(deadline)) return outcome;
    }
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *rest) {
    REAL(clock_nanosleep);
    if (!is_wall(clock) || !(flags & TIMER_ABSTIME)) return real(clock, flags, time, rest);
    while (!is_due(time)) {
        int is_last;
        struct timespec look = next_look(time, &is_last);
        int outcome = real(clock, flags, &look, rest);
        if (outcome != 0) return outcome;
    }
    return 0;
}

// A timer of the wall clock that is set to a moment is moved by the shift of the time at which it is set; that it would ring
// later or earlier when the clock is set again meanwhile is not imitated.
static unsigned char wall_timers[65536 / 8];

int timerfd_create(int clock, int flags) {
    REAL(timerfd_create);
    int descriptor = real(clock, flags);
    if (descriptor >= 0 && descriptor < 65536) {
        unsigned char bit = (unsigned char)(1u << (descriptor % 8));
        if (clock == CLOCK_REALTIME) __atomic_fetch_or(&wall_timers[descriptor / 8], bit, __ATOMIC_RELAXED);
        else __atomic_fetch_and(&wall_timers[descriptor / 8], (unsigned char)~bit, __ATOMIC_RELAXED);
    }
    return descriptor;
}

int timerfd_settime(int descriptor, int flags, const struct itimerspec *value, struct itimerspec *old) {
    REAL(timerfd_settime);
    int is_moment = (flags & TFD_TIMER_ABSTIME) && count(&value->it_value) != 0;
    int is_known = descriptor >= 0 && descriptor < 65536;
    if (!is_moment || !is_known || !(wall_timers[descriptor / 8] & (1u << (descriptor % 8)))) {
        return real(descriptor, flags, value, old);
    }
    struct itimerspec moved = *value;
    moved.it_value = span(count(&value->it_value) - offset());
    if (moved.it_value.tv_sec < 0) moved.it_value = span(1);
    return real(descriptor, flags, &moved, old);
}
