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

static uint32_t multiply(const uint32_t matrix[32], uint32_t vector) {
    uint32_t sum = 0;
    for (int i = 0; vector; i++, vector >>= 1)
        if (vector & 1) sum ^= matrix[i];
    return sum;
}

// What `zeros` zero bytes do to the state, as a matrix over GF(2): the operator for one, raised by squaring.
static void make_operator(uint32_t result[32], uint64_t zeros) {
    uint32_t base[32], temporary[32];
    for (int i = 0; i < 32; i++) {
        uint32_t crc = 1u << i;
        for (int k = 0; k < 8; k++) crc = crc & 1 ? (crc >> 1) ^ POLYNOMIAL : crc >> 1;
        base[i] = crc;
        result[i] = 1u << i;
    }
    for (; zeros; zeros >>= 1) {
        if (zeros & 1) {
            for (int i = 0; i < 32; i++) temporary[i] = multiply(base, result[i]);
            memcpy(result, temporary, sizeof temporary);
        }
        for (int i = 0; i < 32; i++) temporary[i] = multiply(base, base[i]);
        memcpy(base, temporary, sizeof base);
    }
}

uint32_t strata_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_count) {
    uint32_t operator[32];
    make_operator(operator, second_count);
    return multiply(operator, first) ^ second;
}

#if defined(__x86_64__)
// Bytes of one of the three streams in a round.
#define LANE 1024

// shift[k][b]: effect of LANE zero bytes on byte k of the state, and of 2 * LANE.
static uint32_t shift_one[4][256], shift_two[4][256];

static void make_shift(uint32_t out[4][256], size_t zeros) {
    uint32_t operator[32];
    make_operator(operator, zeros);
    for (uint32_t n = 0; n < 256; n++)
        for (int k = 0; k < 4; k++) out[k][n] = multiply(operator, n << (8 * k));
}

__attribute__((constructor)) static void make_shifts(void) {
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
