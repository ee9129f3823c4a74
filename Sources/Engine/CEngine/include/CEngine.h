// The few instructions and system calls that Swift can't name: CRC-32C, prefetch, pwritev2 and an interruptible wait.
// Static inline where a call would cost more than the work. No state, no allocation.
#pragma once
#include <stddef.h>
#include <stdint.h>

// CRC-32C (Castagnoli, reflected, as in iSCSI RFC 3720 and Kafka) of `count` bytes, continuing from `crc`; start with 0.
uint32_t strata_crc32c(uint32_t crc, const void *bytes, size_t count);

// The same by table, for machines without SSE 4.2 and for tests.
uint32_t strata_crc32c_software(uint32_t crc, const void *bytes, size_t count);

// The CRC-32C of two pieces one after the other, from that of each and the length of the second: O(log count), as zlib's
// crc32_combine.
uint32_t strata_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_count);

static inline void strata_prefetch(const void *address) {
    __builtin_prefetch(address, 0, 3);
}

static inline void strata_spin_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// A small number of the calling thread, from 1 up, given out at its first call: where a thread begins to look for a slot
// of its own. Not an identity: after 2^32 threads numbers come again.
uint32_t strata_thread_number_assign(void);
extern __thread uint32_t strata_thread_number_own;

static inline uint32_t strata_thread_number(void) {
    uint32_t number = strata_thread_number_own;
    return number != 0 ? number : strata_thread_number_assign();
}

// Sleeps while the 32-bit word is `expected`, until somebody wakes it or the monotonic clock (CLOCK_MONOTONIC) has reached the
// deadline. May return early; the caller looks again. Never counts on the wall clock.
void strata_wait_while(const void *word, uint32_t expected, uint64_t deadline_nanoseconds);

// Wakes all who sleep on the word. Change the word before.
void strata_wake_waiters(const void *word);

// The C library's own allocator, also when another malloc (jemalloc) is linked over it. Pair each with __libc_free.
void *__libc_malloc(size_t count);
void *__libc_memalign(size_t alignment, size_t count);
void __libc_free(void *address);

// Bit i is set when byte i of the 16 bytes at `bytes` equals `value`.
static inline uint32_t strata_match16(const void *bytes, uint8_t value) {
#if defined(__SSE2__)
    typedef char vector __attribute__((vector_size(16), aligned(1)));
    vector pattern = (vector){} + (char)value;
    return (uint32_t)__builtin_ia32_pmovmskb128((__attribute__((vector_size(16))) char)(*(const vector *)bytes == pattern));
#else
    uint32_t mask = 0;
    for (int i = 0; i < 16; i++) mask |= (uint32_t)(((const uint8_t *)bytes)[i] == value) << i;
    return mask;
#endif
}
