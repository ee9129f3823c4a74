// liburing 2.3 as Swift sees it: its static inline functions import as they are.
#pragma once
// Before liburing defines _XOPEN_SOURCE, which would change types that Glibc has already shown to Swift.
#include <features.h>
#include <liburing.h>
