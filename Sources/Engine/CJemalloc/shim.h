// jemalloc with its non-standard API (mallocx, mallctl). Linking it makes it the malloc of the whole process.
#pragma once
#include <jemalloc/jemalloc.h>
