#if Server
public import ClusterRole
public import HTTPHandling

/// How a ``DeviceEndpoint`` answers; the defaults work.
public struct DeviceGatewayConfiguration: Sendable {
    /// The tenant whose devices enrol here. A product with several mounts one endpoint for each.
    public var tenant: TenantID
    /// Seconds until a device that has just enrolled exchanges. One second: by then the worker's replica
    /// knows it.
    public var firstPoll: Duration
    /// What `notNow` without `retryAfter` means. Five minutes: a user has then put the device down.
    public var defaultDeferral: Duration
    /// The limits of bodies; those of the request if `nil`.
    public var limits: HandlerLimits?
    /// How long ago this worker last heard its manager; `nil` where there is no link. Asked for each
    /// exchange: answer from memory.
    public var age: @Sendable () -> Duration?
    /// From which ``age`` on the worker counts as cut off, and devices are told. 15 seconds: a link in
    /// order is heard several times in it.
    public var cutOffAfter: Duration
    public var time: any TimeSource

    public init(
        tenant: TenantID = .standard,
        firstPoll: Duration = .seconds(1),
        defaultDeferral: Duration = .seconds(300),
        limits: HandlerLimits? = nil,
        time: any TimeSource = SystemTimeSource(),
        cutOffAfter: Duration = .seconds(15),
        age: @escaping @Sendable () -> Duration? = { nil }
    ) {
        self.tenant = tenant
        self.firstPoll = firstPoll
        self.defaultDeferral = defaultDeferral
        self.limits = limits
        self.time = time
        self.age = age
        self.cutOffAfter = cutOffAfter
    }
}

extension DeviceGatewayConfiguration {
    /// The age of an answer, if it is to be told.
    var ageWhileCutOff: Duration? { age().flatMap { $0 >= cutOffAfter ? $0 : nil } }
}
#endif
