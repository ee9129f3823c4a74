// LZ4 blocks and frames as Swift sees them.
#pragma once
#include <lz4.h>
#include <lz4frame.h>
