// zlib as Swift sees it: inflating gzip.
#pragma once
#include <zlib.h>
