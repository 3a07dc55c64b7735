import CSelectorsPlatform

/// The message of each thread's last failure, for `sel_last_error` and Swift's errors.
///
/// Most messages are the system's own text and need no memory. The library's own messages use
/// memory of the thread; without memory the system's text replaces them.
package enum LastError {
    /// The key of a thread's message.
    nonisolated(unsafe) private static var key: pthread_key_t = 0
    /// The key of a thread's memory for messages, which is freed when the thread ends.
    nonisolated(unsafe) private static var memoryKey: pthread_key_t = 0
    /// Whether both keys exist.
    nonisolated(unsafe) private static var hasKeys = false

    /// Creates the keys when the library is loaded.
    static func makeKeys() {
        guard pthread_key_create(&key, nil) == 0 else { return }
        guard pthread_key_create(&memoryKey, { free($0) }) == 0 else {
            pthread_key_delete(key)
            return
        }
        hasKeys = true
    }

    /// Deletes the keys when the library is unloaded.
    static func deleteKeys() {
        guard hasKeys else { return }
        hasKeys = false
        pthread_key_delete(key)
        pthread_key_delete(memoryKey)
    }

    /// This thread's message; empty if nothing has failed yet.
    package static var text: UnsafePointer<CChar> {
        if hasKeys, let text = pthread_getspecific(key) {
            return UnsafePointer(text.assumingMemoryBound(to: CChar.self))
        }
        return StaticString("").cString
    }

    private static func setText(_ text: UnsafePointer<CChar>) {
        guard hasKeys else { return }
        // No message is better than that of an earlier failure.
        if pthread_setspecific(key, text) != 0 { pthread_setspecific(key, nil) }
    }

    /// Allocates this thread's memory for messages, before a call that may fail with one of its
    /// own.
    ///
    /// - Throws: `ENOMEM`, whose message needs no memory.
    static func prepare() throws(SystemError) {
        guard hasKeys else { return }
        let saved = platform_errno()
        defer { platform_set_errno(saved) }
        if memory == nil || pthread_setspecific(key, text) != 0 {
            throw record(SystemError(ENOMEM))
        }
    }

    /// Records the system's text for an error, and returns the error.
    @inline(never)
    @discardableResult
    package static func record(_ error: SystemError) -> SystemError {
        if error.code == EPROTO && isBreachTold { return error }
        let saved = platform_errno()
        setText(words(of: error.code))
        platform_set_errno(saved)
        return error
    }

    /// The message for an errno value; valid until this thread's next failure.
    static func words(of code: Int32) -> UnsafePointer<CChar> {
        guard code == EPROTO else { return UnsafePointer(strerror(code)) }
        return isBreachTold ? text : breach.cString
    }

    private static var breach: StaticString { "the backend has answered against the rules" }

    /// Whether the last message is that of ``recordBreach(by:_:_:)``, which is more specific.
    private static var isBreachTold: Bool {
        strncmp(text, breach.cString, breach.utf8CodeUnitCount) == 0
    }

    /// Records a result of a backend's function that breaks the rules, and returns the error.
    static func recordBreach(
        by backend: UnsafePointer<CChar>, _ function: StaticString, _ answer: Int32
    ) -> SystemError {
        record(EPROTO) {
            $0.append(breach)
            $0.append(": ")
            $0.append(text: backend)
            $0.append(", ")
            $0.append(function)
            $0.append(answer < 0 ? "() = -" : "() = ")
            $0.append(answer.magnitude)
        }
    }

    /// Records a message of the library's own, and returns the error.
    @inline(never)
    @discardableResult
    static func record(_ code: Int32, _ write: (inout Words) -> Void) -> SystemError {
        let saved = platform_errno()
        if let memory {
            var words = Words(at: memory)
            write(&words)
            Words.makeLine(memory)
            setText(memory)
        } else {
            setText(strerror(code))
        }
        platform_set_errno(saved)
        return SystemError(code)
    }

    /// This thread's memory for messages, or `nil` if it cannot be allocated.
    private static var memory: UnsafeMutablePointer<CChar>? {
        guard hasKeys else { return nil }
        if let memory = pthread_getspecific(memoryKey) {
            return memory.assumingMemoryBound(to: CChar.self)
        }
        guard let memory = platform_calloc(1, Words.size) else { return nil }
        guard pthread_setspecific(memoryKey, memory) == 0 else {
            free(memory)
            return nil
        }
        return memory.bindMemory(to: CChar.self, capacity: Words.size)
    }
}

/// A C string under construction; text that does not fit is cut off.
///
/// The C library's own formatting would need varargs, which Swift cannot pass on without its
/// runtime.
struct Words: ~Copyable {
    /// Its maximum size in bytes, including the final 0.
    static let size = 2048

    private let text: UnsafeMutablePointer<CChar>
    private var length = 0

    init(at text: UnsafeMutablePointer<CChar>) {
        self.text = text
        text[0] = 0
    }

    mutating func append(_ literal: StaticString) {
        append(text: literal.cString)
    }

    @inline(never)
    mutating func append(text other: UnsafePointer<CChar>) {
        var next = other
        while next.pointee != 0 {
            append(UInt8(bitPattern: next.pointee))
            next += 1
        }
    }

    /// Appends untrusted text in quotation marks, at most `limit` bytes of it, non-ASCII as `?`.
    mutating func append(quoting bytes: UnsafeRawBufferPointer, limit: Int = 64) {
        append("\"")
        for index in 0..<min(bytes.count, limit) {
            append(bytes[index] < 0x7F ? bytes[index] : UInt8(ascii: "?"))
        }
        append(bytes.count > limit ? "...\"" : "\"")
    }

    /// Appends the system's own text for an errno value, in parentheses.
    mutating func append(system code: Int32) {
        append(" (")
        append(text: UnsafePointer(strerror(code)))
        append(")")
    }

    mutating func append(_ number: UInt32) {
        var unit: UInt32 = 1
        while number / unit >= 10 { unit *= 10 }
        while unit > 0 {
            append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / unit % 10))
            unit /= 10
        }
    }

    @inline(never)
    private mutating func append(_ byte: UInt8) {
        guard length < Words.size - 1 else { return }
        text[length] = CChar(bitPattern: byte)
        length += 1
        text[length] = 0
    }

    /// Replaces control characters, including 0x80 to 0x9F, and invalid UTF-8 with question marks.
    static func makeLine(_ text: UnsafeMutablePointer<CChar>) {
        var place = text
        while place.pointee != 0 {
            let length = lengthOfCharacter(UnsafeRawPointer(place))
            if length == 0 { place.pointee = CChar(bitPattern: UInt8(ascii: "?")) }
            place += max(length, 1)
        }
    }

    /// The length of a character in bytes; 0 if it must not be shown.
    ///
    /// SAFETY: the text ends with 0, which is no continuation byte.
    private static func lengthOfCharacter(_ text: UnsafeRawPointer) -> Int {
        let bytes = text.assumingMemoryBound(to: UInt8.self)
        let length: Int
        switch bytes[0] {
        case 0x20..<0x7F: return 1
        case 0xC2..<0xE0: length = 2
        case 0xE0..<0xF0: length = 3
        case 0xF0..<0xF5: length = 4
        default: return 0
        }
        for index in 1..<length where bytes[index] & 0xC0 != 0x80 { return 0 }
        return bytes[0] == 0xC2 && bytes[1] < 0xA0 ? 0 : length
    }

    /// Returns a copy of a text, as one line, or `nil` without memory.
    static func copyLine(_ text: UnsafePointer<CChar>) -> UnsafeMutablePointer<CChar>? {
        guard let copy = platform_strdup(text) else { return nil }
        makeLine(copy)
        return copy
    }
}

extension StaticString {
    /// The text as a C string, which is never freed.
    package var cString: UnsafePointer<CChar> {
        UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self)
    }
}
