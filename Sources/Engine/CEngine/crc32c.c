// CRC-32C: three interleaved streams of the SSE 4.2 instruction, joined by a table of zero-shifts; a slicing-by-8 table
// where the instruction is missing. Both give the same answer for every input and every split of it.
#include "CEngine.h"
#include <string.h>

#define POLYNOMIAL 0x82f63b78u

static uint32_t table[8][256];

__attribute__((constructor)) static void make_table(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t crc = n;
        for (int k = 0; k < 8; k++) crc = crc & 1 ? (crc >> 1) ^ POLYNOMIAL : crc >> 1;
        table[0][n] = crc;
    }
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t crc = table[0][n];
        for (int k = 1; k < 8; k++) {
            crc = table[0][crc & 0xff] ^ (crc >> 8);
            table[k][n] = crc;
        }
    }
}

uint32_t strata_crc32c_software(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *next = bytes;
    uint64_t state = crc ^ 0xffffffffu;
    while (count && ((uintptr_t)next & 7)) {
        state = table[0][(state ^ *next++) & 0xff] ^ (state >> 8);
        count--;
    }
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, next, 8);
        state ^= word;
        state = table[7][state & 0xff] ^ table[6][(state >> 8) & 0xff] ^ table[5][(state >> 16) & 0xff] ^
                table[4][(state >> 24) & 0xff] ^ table[3][(state >> 32) & 0xff] ^ table[2][(state >> 40) & 0xff] ^
                table[1][(state >> 48) & 0xff] ^ table[0][state >> 56];
        next += 8;
        count -= 8;
    }
    while (count--) state = table[0][(state ^ *next++) & 0xff] ^ (state >> 8);
    return (uint32_t)state ^ 0xffffffffu;
}

// x^(8 * 2^k) modulo the polynomial, in the reflected order of bits.
static uint32_t power_of_bytes[64];

// The product of two polynomials modulo the third.
static uint32_t product(uint32_t a, uint32_t b) {
    uint32_t sum = 0;
    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        if (a & bit) sum ^= b;
        b = b & 1 ? (b >> 1) ^ POLYNOMIAL : b >> 1;
    }
    return sum;
}

__attribute__((constructor)) static void make_powers(void) {
    power_of_bytes[0] = 1u << (31 - 8);
    for (int k = 1; k < 64; k++) power_of_bytes[k] = product(power_of_bytes[k - 1], power_of_bytes[k - 1]);
}

uint32_t strata_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_count) {
    for (int k = 0; second_count; k++, second_count >>= 1)
        if (second_count & 1) first = product(power_of_bytes[k], first);
    return first ^ second;
}

#if defined(__x86_64__)
// Bytes of one of the three streams in a round.
#define LANE 1024

// shift[k][b]: effect of LANE zero bytes on byte k of the state, and of 2 * LANE.
static uint32_t shift_one[4][256], shift_two[4][256];

// What `zeros` zero bytes do to each byte of the state: a multiplication by a power of x.
static void make_shift(uint32_t out[4][256], uint64_t zeros) {
    for (uint32_t n = 0; n < 256; n++)
        for (int k = 0; k < 4; k++) out[k][n] = strata_crc32c_combine(n << (8 * k), 0, zeros);
}

__attribute__((constructor)) static void make_shifts(void) {
    make_powers();
    make_shift(shift_one, LANE);
    make_shift(shift_two, 2 * LANE);
}

static inline uint32_t shift(uint32_t t[4][256], uint32_t crc) {
    return t[0][crc & 0xff] ^ t[1][(crc >> 8) & 0xff] ^ t[2][(crc >> 16) & 0xff] ^ t[3][crc >> 24];
}

static inline uint64_t load(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

__attribute__((target("sse4.2"))) static uint32_t hardware(uint32_t crc, const uint8_t *next, size_t count) {
    uint64_t a = crc ^ 0xffffffffu;
    while (count >= 3 * LANE) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            a = __builtin_ia32_crc32di(a, load(next + i));
            b = __builtin_ia32_crc32di(b, load(next + LANE + i));
            c = __builtin_ia32_crc32di(c, load(next + 2 * LANE + i));
        }
        a = shift(shift_two, (uint32_t)a) ^ shift(shift_one, (uint32_t)b) ^ (uint32_t)c;
        next += 3 * LANE;
        count -= 3 * LANE;
    }
    while (count >= 8) {
        a = __builtin_ia32_crc32di(a, load(next));
        next += 8;
        count -= 8;
    }
    while (count--) a = __builtin_ia32_crc32qi((uint32_t)a, *next++);
    return (uint32_t)a ^ 0xffffffffu;
}

uint32_t strata_crc32c(uint32_t crc, const void *bytes, size_t count) {
    if (__builtin_cpu_supports("sse4.2")) return hardware(crc, bytes, count);
    return strata_crc32c_software(crc, bytes, count);
}
#else
uint32_t strata_crc32c(uint32_t crc, const void *bytes, size_t count) {
    return strata_crc32c_software(crc, bytes, count);
}
#endif
