// swift-tools-version: 6.3
import PackageDescription

/// Makes Embedded Swift of it, which needs no runtime: for the library that C programs get.
///
/// The Makefile sets this. The core then gives its code to `SelectorsC` and has none of its own.
let isEmbedded = Context.environment["SELECTORS_EMBEDDED"] != nil
let embedded: [SwiftSetting] = [
    .enableExperimentalFeature("Embedded"),
    .unsafeFlags(["-wmo", "-enforce-exclusivity=unchecked"]),
]
let codeless: [SwiftSetting] = [.unsafeFlags(["-Xfrontend", "-emit-empty-object-file"])]

// A Mac's file system does not distinguish `selectors` from `Selectors`.
#if os(Linux)
    let cProduct = "selectors"
#else
    let cProduct = "SelectorsC"
#endif

let package = Package(
    name: "swift-selectors",
    // Synchronization.Atomic.
    platforms: [.macOS(.v15)],
    products: [
        // For Swift programs: `import Selectors`.
        .library(name: "Selectors", targets: ["Selectors"]),
        // For Swift programs that use Foundation: `localizedDescription` of any error.
        .library(name: "SelectorsFoundation", targets: ["SelectorsFoundation"]),
        // For Swift programs with async/await: `import SelectorsAsync`.
        .library(name: "SelectorsAsync", targets: ["SelectorsAsync"]),
        // For C programs: libselectors.so and include/selectors.h.
        .library(name: cProduct, type: .dynamic, targets: ["SelectorsC"]),
    ],
    targets: [
        .systemLibrary(name: "CSelectors", path: "include"),
        .systemLibrary(name: "CSelectorsPlatform"),
        .target(
            name: "SelectorsCore", dependencies: ["CSelectorsPlatform", "CSelectors"],
            swiftSettings: isEmbedded ? embedded + codeless : []),
        .target(name: "Selectors", dependencies: ["SelectorsCore"]),
        .target(name: "SelectorsFoundation", dependencies: ["Selectors"]),
        .target(name: "SelectorsAsync", dependencies: ["Selectors", "CSelectorsPlatform"]),
        .target(
            name: "SelectorsC", dependencies: ["SelectorsCore"], exclude: ["selectors.map"],
            swiftSettings: isEmbedded ? embedded : []),
        .target(name: "TestSupport", dependencies: ["Selectors"], path: "Tests/TestSupport"),
        // Programs to learn from, as SelectorsAsyncTests runs them.
        .target(
            name: "AsyncExamples", dependencies: ["SelectorsAsync"], path: "Tests/AsyncExamples"),
        .testTarget(name: "SelectorsCoreTests", dependencies: ["SelectorsCore", "TestSupport"]),
        .testTarget(
            name: "SelectorsTests",
            dependencies: ["Selectors", "SelectorsC", "SelectorsFoundation", "TestSupport"]),
        .testTarget(
            name: "SelectorsAsyncTests",
            dependencies: ["SelectorsAsync", "AsyncExamples", "TestSupport"]),
        .testTarget(name: "CrossLanguageTests", dependencies: ["SelectorsC"]),
    ],
    swiftLanguageModes: [.v6]
)
