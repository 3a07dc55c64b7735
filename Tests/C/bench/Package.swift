// swift-tools-version: 6.3
import PackageDescription

/// A package is called after its folder, so this is a link to the repository, of rules.mk.
let library = "../../../.build-bench/swift-selectors"

let package = Package(
    name: "bench",
    dependencies: [.package(path: library)],
    targets: [
        .target(name: "Workloads", path: "workloads", publicHeadersPath: "."),
        .executableTarget(
            name: "swift-contestant",
            dependencies: ["Workloads", .product(name: "Selectors", package: "swift-selectors")],
            path: "swift"),
        .executableTarget(
            name: "swift-executor",
            dependencies: [
                "Workloads", .product(name: "SelectorsAsync", package: "swift-selectors"),
            ],
            path: "executor"),
    ],
    swiftLanguageModes: [.v6]
)
