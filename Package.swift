// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "swift-selectors",
    products: [
        // For Swift programs: `import Selectors`.
        .library(name: "Selectors", targets: ["Selectors"]),
        // For C programs: libselectors.so and include/selectors.h.
        .library(name: "selectors", type: .dynamic, targets: ["SelectorsC"]),
    ],
    targets: [
        .systemLibrary(name: "CSelectors", path: "include"),
        .systemLibrary(name: "CPlatform"),
        .target(name: "SelectorsCore", dependencies: ["CPlatform", "CSelectors"]),
        .target(name: "Selectors", dependencies: ["SelectorsCore"]),
        .target(name: "SelectorsC", dependencies: ["SelectorsCore"], exclude: ["selectors.map"]),
        .target(name: "TestSupport", dependencies: ["Selectors"], path: "Tests/TestSupport"),
        .testTarget(name: "SelectorsCoreTests", dependencies: ["SelectorsCore", "TestSupport"]),
        .testTarget(
            name: "SelectorsTests", dependencies: ["Selectors", "SelectorsC", "TestSupport"]),
        .testTarget(name: "CrossLanguageTests", dependencies: ["SelectorsC"]),
    ],
    swiftLanguageModes: [.v6]
)
