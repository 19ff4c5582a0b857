public import ClusterRole

public struct MaintenanceWindow: Hashable, Sendable {
    public var zone: String
    public init(zone: String) { self.zone = zone }
    public enum WindowState: Sendable { case open(until: Timestamp); case closed(opens: Timestamp) }
    public func state(at now: Timestamp) -> WindowState { .open(until: now) }
}
public typealias WindowState = MaintenanceWindow.WindowState
extension ByteWriter { mutating func write(_ window: MaintenanceWindow) { write(window.zone) } }
extension ByteReader {
    mutating func readMaintenanceWindow() throws(ClusterRoleError) -> MaintenanceWindow {
        MaintenanceWindow(zone: try readString())
    }
}
