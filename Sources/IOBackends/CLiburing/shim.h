// liburing 2.3 as Swift sees it: its static inline functions import as they are.
#pragma once
#include <liburing.h>
