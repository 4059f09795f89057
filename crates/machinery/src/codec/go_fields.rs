//! What the published schemas leave out about a field: whether the reference keeps an explicit
//! zero value (`name*`: a pointer there, so `0`, `false` and `""` survive) and the name of its
//! scalar type where that has one (`name:core.Type`), which error messages quote.
//!
//! Invariant: sorted by type name; a field that is not listed is a plain scalar of the schema's type.

pub(super) static GO_FIELDS: &[(&str, &str)] = &[
    (
        "io.k8s.api.admissionregistration.v1.MatchResources",
        "matchPolicy*:v1.MatchPolicyType",
    ),
    (
        "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicySpec",
        "failurePolicy*:v1.FailurePolicyType reinvocationPolicy:v1.ReinvocationPolicyType",
    ),
    (
        "io.k8s.api.admissionregistration.v1.MutatingWebhook",
        "failurePolicy*:v1.FailurePolicyType matchPolicy*:v1.MatchPolicyType sideEffects*:v1.SideEffectClass timeoutSeconds* reinvocationPolicy*:v1.ReinvocationPolicyType",
    ),
    (
        "io.k8s.api.admissionregistration.v1.Mutation",
        "patchType:v1.PatchType",
    ),
    (
        "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations",
        "scope*:v1.ScopeType",
    ),
    (
        "io.k8s.api.admissionregistration.v1.ParamRef",
        "parameterNotFoundAction*:v1.ParameterNotFoundActionType",
    ),
    (
        "io.k8s.api.admissionregistration.v1.RuleWithOperations",
        "scope*:v1.ScopeType",
    ),
    (
        "io.k8s.api.admissionregistration.v1.ServiceReference",
        "path* port*",
    ),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicySpec",
        "failurePolicy*:v1.FailurePolicyType",
    ),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingWebhook",
        "failurePolicy*:v1.FailurePolicyType matchPolicy*:v1.MatchPolicyType sideEffects*:v1.SideEffectClass timeoutSeconds*",
    ),
    (
        "io.k8s.api.admissionregistration.v1.Validation",
        "reason*:v1.StatusReason",
    ),
    (
        "io.k8s.api.admissionregistration.v1.WebhookClientConfig",
        "url*",
    ),
    (
        "io.k8s.api.admissionregistration.v1alpha1.MatchResources",
        "matchPolicy*:v1alpha1.MatchPolicyType",
    ),
    (
        "io.k8s.api.admissionregistration.v1alpha1.MutatingAdmissionPolicySpec",
        "failurePolicy*:v1alpha1.FailurePolicyType",
    ),
    (
        "io.k8s.api.admissionregistration.v1alpha1.Mutation",
        "patchType:v1alpha1.PatchType",
    ),
    (
        "io.k8s.api.admissionregistration.v1alpha1.ParamRef",
        "parameterNotFoundAction*:v1alpha1.ParameterNotFoundActionType",
    ),
    (
        "io.k8s.api.admissionregistration.v1beta1.MatchResources",
        "matchPolicy*:v1beta1.MatchPolicyType",
    ),
    (
        "io.k8s.api.admissionregistration.v1beta1.MutatingAdmissionPolicySpec",
        "failurePolicy*:v1beta1.FailurePolicyType",
    ),
    (
        "io.k8s.api.admissionregistration.v1beta1.Mutation",
        "patchType:v1beta1.PatchType",
    ),
    (
        "io.k8s.api.admissionregistration.v1beta1.ParamRef",
        "parameterNotFoundAction*:v1beta1.ParameterNotFoundActionType",
    ),
    (
        "io.k8s.api.apiserverinternal.v1alpha1.StorageVersionCondition",
        "type:v1alpha1.StorageVersionConditionType status:v1alpha1.ConditionStatus",
    ),
    (
        "io.k8s.api.apiserverinternal.v1alpha1.StorageVersionStatus",
        "commonEncodingVersion*",
    ),
    (
        "io.k8s.api.apps.v1.DaemonSetCondition",
        "type:v1.DaemonSetConditionType status:v1.ConditionStatus",
    ),
    ("io.k8s.api.apps.v1.DaemonSetSpec", "revisionHistoryLimit*"),
    ("io.k8s.api.apps.v1.DaemonSetStatus", "collisionCount*"),
    (
        "io.k8s.api.apps.v1.DaemonSetUpdateStrategy",
        "type:v1.DaemonSetUpdateStrategyType",
    ),
    (
        "io.k8s.api.apps.v1.DeploymentCondition",
        "type:v1.DeploymentConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.api.apps.v1.DeploymentSpec",
        "replicas* revisionHistoryLimit* progressDeadlineSeconds*",
    ),
    (
        "io.k8s.api.apps.v1.DeploymentStatus",
        "terminatingReplicas* collisionCount*",
    ),
    (
        "io.k8s.api.apps.v1.DeploymentStrategy",
        "type:v1.DeploymentStrategyType",
    ),
    (
        "io.k8s.api.apps.v1.ReplicaSetCondition",
        "type:v1.ReplicaSetConditionType status:v1.ConditionStatus",
    ),
    ("io.k8s.api.apps.v1.ReplicaSetSpec", "replicas*"),
    (
        "io.k8s.api.apps.v1.ReplicaSetStatus",
        "terminatingReplicas*",
    ),
    (
        "io.k8s.api.apps.v1.RollingUpdateStatefulSetStrategy",
        "partition*",
    ),
    (
        "io.k8s.api.apps.v1.StatefulSetCondition",
        "type:v1.StatefulSetConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.api.apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy",
        "whenDeleted:v1.PersistentVolumeClaimRetentionPolicyType whenScaled:v1.PersistentVolumeClaimRetentionPolicyType",
    ),
    (
        "io.k8s.api.apps.v1.StatefulSetSpec",
        "replicas* podManagementPolicy:v1.PodManagementPolicyType revisionHistoryLimit*",
    ),
    ("io.k8s.api.apps.v1.StatefulSetStatus", "collisionCount*"),
    (
        "io.k8s.api.apps.v1.StatefulSetUpdateStrategy",
        "type:v1.StatefulSetUpdateStrategyType",
    ),
    (
        "io.k8s.api.authentication.v1.TokenRequestSpec",
        "expirationSeconds*",
    ),
    (
        "io.k8s.api.autoscaling.v1.HorizontalPodAutoscalerSpec",
        "minReplicas* targetCPUUtilizationPercentage*",
    ),
    (
        "io.k8s.api.autoscaling.v1.HorizontalPodAutoscalerStatus",
        "observedGeneration* currentCPUUtilizationPercentage*",
    ),
    (
        "io.k8s.api.autoscaling.v2.ContainerResourceMetricSource",
        "name:v1.ResourceName",
    ),
    (
        "io.k8s.api.autoscaling.v2.ContainerResourceMetricStatus",
        "name:v1.ResourceName",
    ),
    (
        "io.k8s.api.autoscaling.v2.HPAScalingPolicy",
        "type:v2.HPAScalingPolicyType",
    ),
    (
        "io.k8s.api.autoscaling.v2.HPAScalingRules",
        "stabilizationWindowSeconds* selectPolicy*:v2.ScalingPolicySelect",
    ),
    (
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerCondition",
        "type:v2.HorizontalPodAutoscalerConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerSpec",
        "minReplicas*",
    ),
    (
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus",
        "observedGeneration*",
    ),
    (
        "io.k8s.api.autoscaling.v2.MetricSpec",
        "type:v2.MetricSourceType",
    ),
    (
        "io.k8s.api.autoscaling.v2.MetricStatus",
        "type:v2.MetricSourceType",
    ),
    (
        "io.k8s.api.autoscaling.v2.MetricTarget",
        "type:v2.MetricTargetType averageUtilization*",
    ),
    (
        "io.k8s.api.autoscaling.v2.MetricValueStatus",
        "averageUtilization*",
    ),
    (
        "io.k8s.api.autoscaling.v2.ResourceMetricSource",
        "name:v1.ResourceName",
    ),
    (
        "io.k8s.api.autoscaling.v2.ResourceMetricStatus",
        "name:v1.ResourceName",
    ),
    (
        "io.k8s.api.batch.v1.CronJobSpec",
        "timeZone* startingDeadlineSeconds* concurrencyPolicy:v1.ConcurrencyPolicy suspend* successfulJobsHistoryLimit* failedJobsHistoryLimit*",
    ),
    (
        "io.k8s.api.batch.v1.JobCondition",
        "type:v1.JobConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.api.batch.v1.JobSpec",
        "parallelism* completions* activeDeadlineSeconds* backoffLimit* backoffLimitPerIndex* maxFailedIndexes* manualSelector* ttlSecondsAfterFinished* completionMode*:v1.CompletionMode suspend* podReplacementPolicy*:v1.PodReplacementPolicy managedBy*",
    ),
    (
        "io.k8s.api.batch.v1.JobStatus",
        "terminating* failedIndexes* ready*",
    ),
    (
        "io.k8s.api.batch.v1.PodFailurePolicyOnExitCodesRequirement",
        "containerName* operator:v1.PodFailurePolicyOnExitCodesOperator",
    ),
    (
        "io.k8s.api.batch.v1.PodFailurePolicyOnPodConditionsPattern",
        "type:v1.PodConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.api.batch.v1.PodFailurePolicyRule",
        "action:v1.PodFailurePolicyAction",
    ),
    (
        "io.k8s.api.batch.v1.SuccessPolicyRule",
        "succeededIndexes* succeededCount*",
    ),
    (
        "io.k8s.api.certificates.v1.CertificateSigningRequestCondition",
        "type:v1.RequestConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.api.certificates.v1.CertificateSigningRequestSpec",
        "expirationSeconds*",
    ),
    (
        "io.k8s.api.certificates.v1beta1.PodCertificateRequestSpec",
        "maxExpirationSeconds*",
    ),
    (
        "io.k8s.api.coordination.v1.LeaseSpec",
        "holderIdentity* leaseDurationSeconds* leaseTransitions* strategy*:v1.CoordinatedLeaseStrategy preferredHolder*",
    ),
    (
        "io.k8s.api.core.v1.AppArmorProfile",
        "type:v1.AppArmorProfileType localhostProfile*",
    ),
    (
        "io.k8s.api.core.v1.AttachedVolume",
        "name:v1.UniqueVolumeName",
    ),
    (
        "io.k8s.api.core.v1.AzureDiskVolumeSource",
        "cachingMode*:v1.AzureDataDiskCachingMode fsType* readOnly* kind*:v1.AzureDataDiskKind",
    ),
    (
        "io.k8s.api.core.v1.AzureFilePersistentVolumeSource",
        "secretNamespace*",
    ),
    ("io.k8s.api.core.v1.CSIVolumeSource", "readOnly* fsType*"),
    ("io.k8s.api.core.v1.ClientIPConfig", "timeoutSeconds*"),
    (
        "io.k8s.api.core.v1.ClusterTrustBundleProjection",
        "name* signerName* optional*",
    ),
    (
        "io.k8s.api.core.v1.ComponentCondition",
        "type:v1.ComponentConditionType status:v1.ConditionStatus",
    ),
    ("io.k8s.api.core.v1.ConfigMap", "immutable*"),
    ("io.k8s.api.core.v1.ConfigMapEnvSource", "optional*"),
    ("io.k8s.api.core.v1.ConfigMapKeySelector", "optional*"),
    ("io.k8s.api.core.v1.ConfigMapProjection", "optional*"),
    (
        "io.k8s.api.core.v1.ConfigMapVolumeSource",
        "defaultMode* optional*",
    ),
    (
        "io.k8s.api.core.v1.Container",
        "restartPolicy*:v1.ContainerRestartPolicy terminationMessagePolicy:v1.TerminationMessagePolicy imagePullPolicy:v1.PullPolicy",
    ),
    ("io.k8s.api.core.v1.ContainerPort", "protocol:v1.Protocol"),
    (
        "io.k8s.api.core.v1.ContainerResizePolicy",
        "resourceName:v1.ResourceName restartPolicy:v1.ResourceResizeRestartPolicy",
    ),
    (
        "io.k8s.api.core.v1.ContainerRestartRule",
        "action:v1.ContainerRestartRuleAction",
    ),
    (
        "io.k8s.api.core.v1.ContainerRestartRuleOnExitCodes",
        "operator:v1.ContainerRestartRuleOnExitCodesOperator",
    ),
    (
        "io.k8s.api.core.v1.ContainerStatus",
        "started* stopSignal*:v1.Signal",
    ),
    ("io.k8s.api.core.v1.DownwardAPIVolumeFile", "mode*"),
    ("io.k8s.api.core.v1.DownwardAPIVolumeSource", "defaultMode*"),
    (
        "io.k8s.api.core.v1.EmptyDirVolumeSource",
        "medium:v1.StorageMedium",
    ),
    ("io.k8s.api.core.v1.EndpointAddress", "nodeName*"),
    (
        "io.k8s.api.core.v1.EndpointPort",
        "protocol:v1.Protocol appProtocol*",
    ),
    (
        "io.k8s.api.core.v1.EphemeralContainer",
        "restartPolicy*:v1.ContainerRestartPolicy terminationMessagePolicy:v1.TerminationMessagePolicy imagePullPolicy:v1.PullPolicy",
    ),
    ("io.k8s.api.core.v1.FCVolumeSource", "lun*"),
    ("io.k8s.api.core.v1.FileKeySelector", "optional*"),
    ("io.k8s.api.core.v1.GRPCAction", "service*"),
    (
        "io.k8s.api.core.v1.GlusterfsPersistentVolumeSource",
        "endpointsNamespace*",
    ),
    ("io.k8s.api.core.v1.HTTPGetAction", "scheme:v1.URIScheme"),
    (
        "io.k8s.api.core.v1.HostPathVolumeSource",
        "type*:v1.HostPathType",
    ),
    (
        "io.k8s.api.core.v1.ISCSIPersistentVolumeSource",
        "initiatorName*",
    ),
    ("io.k8s.api.core.v1.ISCSIVolumeSource", "initiatorName*"),
    (
        "io.k8s.api.core.v1.ImageVolumeSource",
        "pullPolicy:v1.PullPolicy",
    ),
    ("io.k8s.api.core.v1.KeyToPath", "mode*"),
    ("io.k8s.api.core.v1.Lifecycle", "stopSignal*:v1.Signal"),
    ("io.k8s.api.core.v1.LimitRangeItem", "type:v1.LimitType"),
    (
        "io.k8s.api.core.v1.LoadBalancerIngress",
        "ipMode*:v1.LoadBalancerIPMode",
    ),
    ("io.k8s.api.core.v1.LocalVolumeSource", "fsType*"),
    (
        "io.k8s.api.core.v1.ModifyVolumeStatus",
        "status:v1.PersistentVolumeClaimModifyVolumeStatus",
    ),
    (
        "io.k8s.api.core.v1.NamespaceCondition",
        "type:v1.NamespaceConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.api.core.v1.NamespaceStatus",
        "phase:v1.NamespacePhase",
    ),
    ("io.k8s.api.core.v1.NodeAddress", "type:v1.NodeAddressType"),
    (
        "io.k8s.api.core.v1.NodeCondition",
        "type:v1.NodeConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.api.core.v1.NodeFeatures",
        "supplementalGroupsPolicy*",
    ),
    (
        "io.k8s.api.core.v1.NodeRuntimeHandlerFeatures",
        "recursiveReadOnlyMounts* userNamespaces*",
    ),
    (
        "io.k8s.api.core.v1.NodeSelectorRequirement",
        "operator:v1.NodeSelectorOperator",
    ),
    ("io.k8s.api.core.v1.NodeStatus", "phase:v1.NodePhase"),
    ("io.k8s.api.core.v1.NodeSwapStatus", "capacity*"),
    (
        "io.k8s.api.core.v1.PersistentVolumeClaimCondition",
        "type:v1.PersistentVolumeClaimConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
        "storageClassName* volumeMode*:v1.PersistentVolumeMode volumeAttributesClassName*",
    ),
    (
        "io.k8s.api.core.v1.PersistentVolumeClaimStatus",
        "phase:v1.PersistentVolumeClaimPhase currentVolumeAttributesClassName*",
    ),
    (
        "io.k8s.api.core.v1.PersistentVolumeSpec",
        "persistentVolumeReclaimPolicy:v1.PersistentVolumeReclaimPolicy volumeMode*:v1.PersistentVolumeMode volumeAttributesClassName*",
    ),
    (
        "io.k8s.api.core.v1.PersistentVolumeStatus",
        "phase:v1.PersistentVolumePhase",
    ),
    (
        "io.k8s.api.core.v1.PodCertificateProjection",
        "maxExpirationSeconds*",
    ),
    (
        "io.k8s.api.core.v1.PodCondition",
        "type:v1.PodConditionType status:v1.ConditionStatus",
    ),
    ("io.k8s.api.core.v1.PodDNSConfigOption", "value*"),
    ("io.k8s.api.core.v1.PodOS", "name:v1.OSName"),
    (
        "io.k8s.api.core.v1.PodReadinessGate",
        "conditionType:v1.PodConditionType",
    ),
    (
        "io.k8s.api.core.v1.PodResourceClaim",
        "resourceClaimName* resourceClaimTemplateName*",
    ),
    (
        "io.k8s.api.core.v1.PodResourceClaimStatus",
        "resourceClaimName*",
    ),
    ("io.k8s.api.core.v1.PodSchedulingGroup", "podGroupName*"),
    (
        "io.k8s.api.core.v1.PodSecurityContext",
        "runAsUser* runAsGroup* runAsNonRoot* supplementalGroupsPolicy*:v1.SupplementalGroupsPolicy fsGroup* fsGroupChangePolicy*:v1.PodFSGroupChangePolicy seLinuxChangePolicy*:v1.PodSELinuxChangePolicy",
    ),
    (
        "io.k8s.api.core.v1.PodSpec",
        "restartPolicy:v1.RestartPolicy terminationGracePeriodSeconds* activeDeadlineSeconds* dnsPolicy:v1.DNSPolicy automountServiceAccountToken* shareProcessNamespace* priority* runtimeClassName* enableServiceLinks* preemptionPolicy*:v1.PreemptionPolicy setHostnameAsFQDN* hostUsers* hostnameOverride*",
    ),
    (
        "io.k8s.api.core.v1.PodStatus",
        "phase:v1.PodPhase qosClass:v1.PodQOSClass resize:v1.PodResizeStatus",
    ),
    (
        "io.k8s.api.core.v1.PortStatus",
        "protocol:v1.Protocol error*",
    ),
    ("io.k8s.api.core.v1.Probe", "terminationGracePeriodSeconds*"),
    ("io.k8s.api.core.v1.ProjectedVolumeSource", "defaultMode*"),
    (
        "io.k8s.api.core.v1.ReplicationControllerCondition",
        "type:v1.ReplicationControllerConditionType status:v1.ConditionStatus",
    ),
    ("io.k8s.api.core.v1.ReplicationControllerSpec", "replicas*"),
    (
        "io.k8s.api.core.v1.ResourceHealth",
        "resourceID:v1.ResourceID health:v1.ResourceHealthStatus message*",
    ),
    ("io.k8s.api.core.v1.ResourceStatus", "name:v1.ResourceName"),
    (
        "io.k8s.api.core.v1.ScopedResourceSelectorRequirement",
        "scopeName:v1.ResourceQuotaScope operator:v1.ScopeSelectorOperator",
    ),
    (
        "io.k8s.api.core.v1.SeccompProfile",
        "type:v1.SeccompProfileType localhostProfile*",
    ),
    ("io.k8s.api.core.v1.Secret", "immutable* type:v1.SecretType"),
    ("io.k8s.api.core.v1.SecretEnvSource", "optional*"),
    ("io.k8s.api.core.v1.SecretKeySelector", "optional*"),
    ("io.k8s.api.core.v1.SecretProjection", "optional*"),
    (
        "io.k8s.api.core.v1.SecretVolumeSource",
        "defaultMode* optional*",
    ),
    (
        "io.k8s.api.core.v1.SecurityContext",
        "privileged* runAsUser* runAsGroup* runAsNonRoot* readOnlyRootFilesystem* allowPrivilegeEscalation* procMount*:v1.ProcMountType",
    ),
    (
        "io.k8s.api.core.v1.ServiceAccount",
        "automountServiceAccountToken*",
    ),
    (
        "io.k8s.api.core.v1.ServiceAccountTokenProjection",
        "expirationSeconds*",
    ),
    (
        "io.k8s.api.core.v1.ServicePort",
        "protocol:v1.Protocol appProtocol*",
    ),
    (
        "io.k8s.api.core.v1.ServiceSpec",
        "type:v1.ServiceType sessionAffinity:v1.ServiceAffinity externalTrafficPolicy:v1.ServiceExternalTrafficPolicy ipFamilyPolicy*:v1.IPFamilyPolicy allocateLoadBalancerNodePorts* loadBalancerClass* internalTrafficPolicy*:v1.ServiceInternalTrafficPolicy trafficDistribution*",
    ),
    ("io.k8s.api.core.v1.Taint", "effect:v1.TaintEffect"),
    (
        "io.k8s.api.core.v1.Toleration",
        "operator:v1.TolerationOperator effect:v1.TaintEffect tolerationSeconds*",
    ),
    (
        "io.k8s.api.core.v1.TopologySpreadConstraint",
        "whenUnsatisfiable:v1.UnsatisfiableConstraintAction minDomains* nodeAffinityPolicy*:v1.NodeInclusionPolicy nodeTaintsPolicy*:v1.NodeInclusionPolicy",
    ),
    ("io.k8s.api.core.v1.TypedLocalObjectReference", "apiGroup*"),
    (
        "io.k8s.api.core.v1.TypedObjectReference",
        "apiGroup* namespace*",
    ),
    (
        "io.k8s.api.core.v1.VolumeMount",
        "recursiveReadOnly*:v1.RecursiveReadOnlyMode mountPropagation*:v1.MountPropagationMode",
    ),
    (
        "io.k8s.api.core.v1.VolumeMountStatus",
        "recursiveReadOnly*:v1.RecursiveReadOnlyMode",
    ),
    (
        "io.k8s.api.core.v1.WindowsSecurityContextOptions",
        "gmsaCredentialSpecName* gmsaCredentialSpec* runAsUserName* hostProcess*",
    ),
    (
        "io.k8s.api.discovery.v1.Endpoint",
        "hostname* nodeName* zone*",
    ),
    (
        "io.k8s.api.discovery.v1.EndpointConditions",
        "ready* serving* terminating*",
    ),
    (
        "io.k8s.api.discovery.v1.EndpointPort",
        "name* protocol*:v1.Protocol port* appProtocol*",
    ),
    (
        "io.k8s.api.discovery.v1.EndpointSlice",
        "addressType:v1.AddressType",
    ),
    (
        "io.k8s.api.flowcontrol.v1.ExemptPriorityLevelConfiguration",
        "nominalConcurrencyShares* lendablePercent*",
    ),
    (
        "io.k8s.api.flowcontrol.v1.FlowDistinguisherMethod",
        "type:v1.FlowDistinguisherMethodType",
    ),
    (
        "io.k8s.api.flowcontrol.v1.FlowSchemaCondition",
        "type:v1.FlowSchemaConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.api.flowcontrol.v1.LimitResponse",
        "type:v1.LimitResponseType",
    ),
    (
        "io.k8s.api.flowcontrol.v1.LimitedPriorityLevelConfiguration",
        "nominalConcurrencyShares* lendablePercent* borrowingLimitPercent*",
    ),
    (
        "io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationCondition",
        "type:v1.PriorityLevelConfigurationConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationSpec",
        "type:v1.PriorityLevelEnablement",
    ),
    ("io.k8s.api.flowcontrol.v1.Subject", "kind:v1.SubjectKind"),
    (
        "io.k8s.api.networking.v1.HTTPIngressPath",
        "pathType*:v1.PathType",
    ),
    (
        "io.k8s.api.networking.v1.IngressClassParametersReference",
        "apiGroup* scope* namespace*",
    ),
    (
        "io.k8s.api.networking.v1.IngressPortStatus",
        "protocol:v1.Protocol error*",
    ),
    ("io.k8s.api.networking.v1.IngressSpec", "ingressClassName*"),
    (
        "io.k8s.api.networking.v1.NetworkPolicyPort",
        "protocol*:v1.Protocol endPort*",
    ),
    (
        "io.k8s.api.policy.v1.PodDisruptionBudgetSpec",
        "unhealthyPodEvictionPolicy*:v1.UnhealthyPodEvictionPolicyType",
    ),
    ("io.k8s.api.resource.v1.AllocatedDeviceStatus", "shareID*"),
    (
        "io.k8s.api.resource.v1.Device",
        "nodeName* allNodes* bindsToNode* allowMultipleAllocations*",
    ),
    (
        "io.k8s.api.resource.v1.DeviceAllocationConfiguration",
        "source:v1.AllocationConfigSource",
    ),
    (
        "io.k8s.api.resource.v1.DeviceAttribute",
        "int* bool* string* version*",
    ),
    (
        "io.k8s.api.resource.v1.DeviceClassSpec",
        "extendedResourceName*",
    ),
    (
        "io.k8s.api.resource.v1.DeviceConstraint",
        "matchAttribute*:v1.FullyQualifiedName distinctAttribute*:v1.FullyQualifiedName",
    ),
    (
        "io.k8s.api.resource.v1.DeviceRequestAllocationResult",
        "adminAccess* shareID*",
    ),
    (
        "io.k8s.api.resource.v1.DeviceSubRequest",
        "allocationMode:v1.DeviceAllocationMode",
    ),
    (
        "io.k8s.api.resource.v1.DeviceTaint",
        "effect:v1.DeviceTaintEffect",
    ),
    (
        "io.k8s.api.resource.v1.DeviceToleration",
        "operator:v1.DeviceTolerationOperator effect:v1.DeviceTaintEffect tolerationSeconds*",
    ),
    (
        "io.k8s.api.resource.v1.ExactDeviceRequest",
        "allocationMode:v1.DeviceAllocationMode adminAccess*",
    ),
    (
        "io.k8s.api.resource.v1.NodeAllocatableResourceMapping",
        "capacityKey*:v1.QualifiedName",
    ),
    (
        "io.k8s.api.resource.v1.ResourceSliceSpec",
        "nodeName* allNodes* perDeviceNodeSelection*",
    ),
    (
        "io.k8s.api.resource.v1alpha3.DeviceTaint",
        "effect:v1alpha3.DeviceTaintEffect",
    ),
    (
        "io.k8s.api.resource.v1alpha3.DeviceTaintSelector",
        "driver* pool* device*",
    ),
    (
        "io.k8s.api.resource.v1alpha3.PoolStatus",
        "resourceSliceCount* totalDevices* allocatedDevices* availableDevices* unavailableDevices* nodeName* validationError*",
    ),
    (
        "io.k8s.api.resource.v1alpha3.ResourcePoolStatusRequestSpec",
        "poolName* limit*",
    ),
    (
        "io.k8s.api.resource.v1alpha3.ResourcePoolStatusRequestStatus",
        "poolCount*",
    ),
    (
        "io.k8s.api.resource.v1beta1.AllocatedDeviceStatus",
        "shareID*",
    ),
    (
        "io.k8s.api.resource.v1beta1.BasicDevice",
        "nodeName* allNodes* bindsToNode* allowMultipleAllocations*",
    ),
    (
        "io.k8s.api.resource.v1beta1.DeviceAllocationConfiguration",
        "source:v1beta1.AllocationConfigSource",
    ),
    (
        "io.k8s.api.resource.v1beta1.DeviceAttribute",
        "int* bool* string* version*",
    ),
    (
        "io.k8s.api.resource.v1beta1.DeviceClassSpec",
        "extendedResourceName*",
    ),
    (
        "io.k8s.api.resource.v1beta1.DeviceConstraint",
        "matchAttribute*:v1beta1.FullyQualifiedName distinctAttribute*:v1beta1.FullyQualifiedName",
    ),
    (
        "io.k8s.api.resource.v1beta1.DeviceRequest",
        "allocationMode:v1beta1.DeviceAllocationMode adminAccess*",
    ),
    (
        "io.k8s.api.resource.v1beta1.DeviceRequestAllocationResult",
        "adminAccess* shareID*",
    ),
    (
        "io.k8s.api.resource.v1beta1.DeviceSubRequest",
        "allocationMode:v1beta1.DeviceAllocationMode",
    ),
    (
        "io.k8s.api.resource.v1beta1.DeviceTaint",
        "effect:v1beta1.DeviceTaintEffect",
    ),
    (
        "io.k8s.api.resource.v1beta1.DeviceToleration",
        "operator:v1beta1.DeviceTolerationOperator effect:v1beta1.DeviceTaintEffect tolerationSeconds*",
    ),
    (
        "io.k8s.api.resource.v1beta1.NodeAllocatableResourceMapping",
        "capacityKey*:v1beta1.QualifiedName",
    ),
    (
        "io.k8s.api.resource.v1beta1.ResourceSliceSpec",
        "perDeviceNodeSelection*",
    ),
    (
        "io.k8s.api.resource.v1beta2.AllocatedDeviceStatus",
        "shareID*",
    ),
    (
        "io.k8s.api.resource.v1beta2.Device",
        "nodeName* allNodes* bindsToNode* allowMultipleAllocations*",
    ),
    (
        "io.k8s.api.resource.v1beta2.DeviceAllocationConfiguration",
        "source:v1beta2.AllocationConfigSource",
    ),
    (
        "io.k8s.api.resource.v1beta2.DeviceAttribute",
        "int* bool* string* version*",
    ),
    (
        "io.k8s.api.resource.v1beta2.DeviceClassSpec",
        "extendedResourceName*",
    ),
    (
        "io.k8s.api.resource.v1beta2.DeviceConstraint",
        "matchAttribute*:v1beta2.FullyQualifiedName distinctAttribute*:v1beta2.FullyQualifiedName",
    ),
    (
        "io.k8s.api.resource.v1beta2.DeviceRequestAllocationResult",
        "adminAccess* shareID*",
    ),
    (
        "io.k8s.api.resource.v1beta2.DeviceSubRequest",
        "allocationMode:v1beta2.DeviceAllocationMode",
    ),
    (
        "io.k8s.api.resource.v1beta2.DeviceTaint",
        "effect:v1beta2.DeviceTaintEffect",
    ),
    (
        "io.k8s.api.resource.v1beta2.DeviceTaintSelector",
        "driver* pool* device*",
    ),
    (
        "io.k8s.api.resource.v1beta2.DeviceToleration",
        "operator:v1beta2.DeviceTolerationOperator effect:v1beta2.DeviceTaintEffect tolerationSeconds*",
    ),
    (
        "io.k8s.api.resource.v1beta2.ExactDeviceRequest",
        "allocationMode:v1beta2.DeviceAllocationMode adminAccess*",
    ),
    (
        "io.k8s.api.resource.v1beta2.NodeAllocatableResourceMapping",
        "capacityKey*:v1beta2.QualifiedName",
    ),
    (
        "io.k8s.api.resource.v1beta2.ResourceSliceSpec",
        "nodeName* allNodes* perDeviceNodeSelection*",
    ),
    (
        "io.k8s.api.scheduling.v1.PriorityClass",
        "preemptionPolicy*",
    ),
    (
        "io.k8s.api.scheduling.v1alpha2.PodGroupResourceClaim",
        "resourceClaimName* resourceClaimTemplateName*",
    ),
    (
        "io.k8s.api.scheduling.v1alpha2.PodGroupResourceClaimStatus",
        "resourceClaimName*",
    ),
    (
        "io.k8s.api.scheduling.v1alpha2.PodGroupSpec",
        "disruptionMode*:v1alpha2.DisruptionMode priority*",
    ),
    (
        "io.k8s.api.scheduling.v1alpha2.PodGroupTemplate",
        "disruptionMode*:v1alpha2.DisruptionMode priority*",
    ),
    (
        "io.k8s.api.storage.v1.CSIDriverSpec",
        "attachRequired* podInfoOnMount* storageCapacity* fsGroupPolicy*:v1.FSGroupPolicy requiresRepublish* seLinuxMount* nodeAllocatableUpdatePeriodSeconds* serviceAccountTokenInSecrets* preventPodSchedulingIfMissing*",
    ),
    (
        "io.k8s.api.storage.v1.StorageClass",
        "reclaimPolicy*:v1.PersistentVolumeReclaimPolicy allowVolumeExpansion* volumeBindingMode*:v1.VolumeBindingMode",
    ),
    ("io.k8s.api.storage.v1.TokenRequest", "expirationSeconds*"),
    (
        "io.k8s.api.storage.v1.VolumeAttachmentSource",
        "persistentVolumeName*",
    ),
    ("io.k8s.api.storage.v1.VolumeError", "errorCode*"),
    ("io.k8s.api.storage.v1.VolumeNodeResources", "count*"),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceConversion",
        "strategy:v1.ConversionStrategyType",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionCondition",
        "type:v1.CustomResourceDefinitionConditionType status:v1.ConditionStatus",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec",
        "scope:v1.ResourceScope",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionVersion",
        "deprecationWarning*",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceSubresourceScale",
        "labelSelectorPath*",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps",
        "$schema:v1.JSONSchemaURL $ref* maximum* minimum* maxLength* minLength* maxItems* minItems* multipleOf* maxProperties* minProperties* x-kubernetes-preserve-unknown-fields* x-kubernetes-list-type* x-kubernetes-map-type*",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ServiceReference",
        "path* port*",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ValidationRule",
        "reason*:v1.FieldValueErrorReason optionalOldSelf*",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.WebhookClientConfig",
        "url*",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.Condition",
        "status:v1.ConditionStatus",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
        "gracePeriodSeconds* orphanDependents* propagationPolicy*:v1.DeletionPropagation ignoreStoreReadErrorWithClusterBreakingPotential*",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.FieldSelectorRequirement",
        "operator:v1.FieldSelectorOperator",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement",
        "operator:v1.LabelSelectorOperator",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta",
        "remainingItemCount*",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry",
        "operation:v1.ManagedFieldsOperationType",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
        "deletionGracePeriodSeconds*",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
        "controller* blockOwnerDeletion*",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.Preconditions",
        "uid* resourceVersion*",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
        "reason:v1.StatusReason",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.StatusCause",
        "reason:v1.CauseType",
    ),
];
