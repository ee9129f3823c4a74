// Which Strata this is, as `Server --version` says it.

enum StrataVersion {
    /// Of the features and formats; raised with each release.
    static let number = "0.15.0"
    /// What `Server --version` prints.
    static let sentence = "strata \(number)"
}
