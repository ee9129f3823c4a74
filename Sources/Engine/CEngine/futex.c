// Waiting on a word of memory, by the kernel's futex. FUTEX_WAIT_BITSET takes a moment of the monotonic clock, where the
// C library's semaphore only knows the wall clock: a wait must not grow because somebody sets that one back.
#include "CEngine.h"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void strata_wait_while(const void *word, uint32_t expected, uint64_t deadline_nanoseconds) {
    struct timespec deadline = {
        .tv_sec = (time_t)(deadline_nanoseconds / 1000000000), .tv_nsec = (long)(deadline_nanoseconds % 1000000000)};
    syscall(
        SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
}

void strata_wake_waiters(const void *word) {
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 0x7fffffff, NULL, NULL, 0);
}
