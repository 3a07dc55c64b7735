// swift-tools-version: 6.3
import PackageDescription

/// A package is called after its folder, so this is a link to the repository, of rules.mk.
let library = "../../../../.build-bench/swift-selectors"

/// Apart from the other contestants, so that nobody needs SwiftNIO but for this comparison.
let package = Package(
    name: "async-bench",
    dependencies: [
        .package(path: library),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        .executableTarget(
            name: "async-server",
            dependencies: [
                .product(name: "Selectors", package: "swift-selectors"),
                .product(name: "SelectorsAsync", package: "swift-selectors"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "swift")
    ],
    swiftLanguageModes: [.v6]
)
