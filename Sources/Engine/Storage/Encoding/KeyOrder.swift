// The order of keys everywhere in the store: unsigned bytes, a prefix before its extensions.
internal import Glibc

/// Negative, zero or positive as `left` comes before, equals or comes after `right`.
func compare(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
    let shared = min(left.count, right.count)
    if shared > 0, let one = left.baseAddress, let other = right.baseAddress {
        let order = memcmp(one, other, shared)
        if order != 0 { return Int(order) }
    }
    return left.count - right.count
}

func equal(_ left: UnsafeRawPointer, _ right: UnsafeRawBufferPointer) -> Bool {
    guard right.count > 0, let other = right.baseAddress else { return true }
    return memcmp(left, other, right.count) == 0
}
