#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

func wallClockMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
}

/// Fills a buffer of at most 256 bytes with the kernel's randomness.
///
/// Where the kernel gives none, which happens only in a sandbox that forbids the call, the standard library's
/// generator is asked: it stops the process rather than give weak numbers.
func fillWithSystemRandomness(_ buffer: UnsafeMutableRawBufferPointer) {
    #if canImport(Glibc) || canImport(Musl)
    if let start = buffer.baseAddress, getentropy(start, buffer.count) == 0 { return }
    #endif
    var generator = SystemRandomNumberGenerator()
    for index in buffer.indices { buffer[index] = generator.next() }
}
