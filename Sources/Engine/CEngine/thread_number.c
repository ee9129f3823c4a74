// Numbers the threads that ask, in the order of their first question.
#include "CEngine.h"
#include <stdatomic.h>

__thread uint32_t strata_thread_number_own = 0;

uint32_t strata_thread_number_assign(void) {
    static _Atomic uint32_t next = 0;
    uint32_t number;
    do {
        number = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) + 1;
    } while (number == 0);
    strata_thread_number_own = number;
    return number;
}
