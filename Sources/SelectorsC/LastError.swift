import CPlatform
import SelectorsCore

/// The last failure of each thread, for `sel_last_error`.
enum LastError {
    /// What a thread keeps: the text, ended by 0 and cut to this size.
    private static let size = 1024

    /// Where a thread finds its text, or `nil` where the system had no more keys.
    private static let key: pthread_key_t? = {
        var key = pthread_key_t()
        return pthread_key_create(&key, { free($0) }) == 0 ? key : nil
    }()

    /// Keeps a failure's words, and returns what the C function is to return.
    static func record(_ error: SystemError) -> Int32 {
        record(strerror(error.code), code: error.code)
    }

    /// Keeps a failure's words, and returns what the C function is to return.
    static func record(_ error: BackendError) -> Int32 {
        error.message.withCString { record($0, code: error.code) }
    }

    /// The words of this thread's last failure.
    static var text: UnsafePointer<CChar> {
        if let key, let text = pthread_getspecific(key) {
            return UnsafePointer(text.assumingMemoryBound(to: CChar.self))
        }
        return StaticString("").cString
    }

    private static func record(_ words: UnsafePointer<CChar>, code: Int32) -> Int32 {
        let saved = platform_errno()
        if let key {
            var text = pthread_getspecific(key)
            if text == nil {
                text = calloc(1, size)
                if pthread_setspecific(key, text) != 0 {
                    free(text)
                    text = nil
                }
            }
            // Without memory there is no text, but the code still tells.
            if let text {
                let length = min(strlen(words), size - 1)
                memmove(text, words, length)
                text.storeBytes(of: 0, toByteOffset: length, as: UInt8.self)
            }
        }
        platform_set_errno(saved)
        return 0 &- code
    }
}

extension StaticString {
    /// The text as C has it; it lives forever.
    var cString: UnsafePointer<CChar> {
        UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self)
    }
}
