// The few instructions and system calls that Swift can't name: CRC-32C, prefetch, pwritev2 and an interruptible wait.
// Static inline where a call would cost more than the work. No state, no allocation.
#pragma once
#include <stddef.h>
#include <stdint.h>

// CRC-32C (Castagnoli, reflected, as in iSCSI RFC 3720 and Kafka) of `count` bytes, continuing from `crc`; start with 0.
uint32_t strata_crc32c(uint32_t crc, const void *bytes, size_t count);

// The same by table, for machines without SSE 4.2 and for tests.
uint32_t strata_crc32c_software(uint32_t crc, const void *bytes, size_t count);

static inline void strata_prefetch(const void *address) {
    __builtin_prefetch(address, 0, 3);
}

static inline void strata_spin_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}
