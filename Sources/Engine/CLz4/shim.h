// LZ4 blocks as Swift sees them.
#pragma once
#include <lz4.h>
