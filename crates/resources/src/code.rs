//! The codes of what this crate finds, one table: reading (MG0…), then a thousand for each kind. `docs/diagnostics.md` tells
//! them to people, and a test holds the two together.

macro_rules! codes {
    ($($name:ident $code:literal $title:literal)+) => {
        $(#[doc = $title] pub const $name: &str = $code;)+
        /// Every code and what it stands for.
        pub const ALL: &[(&str, &str)] = &[$(($code, $title)),+];

        /// The name of a code, such as `NOT_YAML`.
        pub fn name(code: &str) -> Option<&'static str> {
            match code {
                $($code => Some(stringify!($name)),)+
                _ => None,
            }
        }
    };
}

codes! {
    NOT_YAML "MG0001" "the document cannot be read as YAML or JSON"
    NO_KIND "MG0002" "the document has no `apiVersion` or no `kind`"
    NO_NAME "MG0003" "the object has no name, or one that Kubernetes would not take"
    UNKNOWN_FIELD "MG0004" "the kind has no such field"
    WRONG_VALUE "MG0005" "the value is of another type than the field, or none that it takes"
    FOREIGN_KIND "MG0006" "objects of this kind are not supported"
    WRONG_VERSION "MG0007" "the kind is known, its `apiVersion` is not"
    DEFINED_TWICE "MG0008" "the object is defined twice, and the first definition is used"
    LAST_GOOD "MG0009" "the last good version keeps serving"
    UNREADABLE_FILE "MG0010" "the file cannot be read"
    MESH_CONFIG "MG0011" "the mesh settings cannot be read"
    MESH_NO_EFFECT "MG0012" "a mesh setting has no effect here"
    UNLISTED_FOLDER "MG0013" "the folder cannot be listed, and what it held keeps serving"
    MISSING_ROOT "MG0014" "a configured path is missing or cannot be listed, and what it held keeps serving"
    EMPTIED_FILE "MG0015" "the file is empty, and what it held keeps serving"
    REPLACED_FILE "MG0016" "the path is no longer a file, and what it held keeps serving"
    NO_OBJECTS "MG0017" "no objects were read"
    OPEN_FILE "MG0018" "the file is being written, and is read when its writer closes it"
    TOO_MANY_FILES "MG0019" "there are more files or folders than are read"
    ODD_KEY "MG0025" "YAML reads the key as a number, a boolean or null"
    UNKNOWN_KIND "MG0026" "unknown kind"
    API_SERVER "MG0030" "the API server cannot be asked, and what it said before keeps serving"
    API_FORBIDDEN "MG0031" "the API server denies a kind to the gateway's account"
    NOT_INSTALLED "MG0032" "a kind is not installed in the cluster, and is waited for"
    STATE_FOLDER "MG0033" "the folder of the last configuration cannot be used"
    WRITE_FORBIDDEN "MG0034" "the API server denies writing a status, an address or the Lease of the leader"
    LEASE_FAILS "MG0035" "the Lease of the leader cannot be held, and nothing is written into the cluster"

    GATEWAY_NO_SERVERS "MG1001" "a Gateway needs at least one server"
    GATEWAY_NO_PORT "MG1002" "a server needs a port"
    GATEWAY_PORT_NUMBER "MG1003" "the number of a port is 1 to 65535"
    GATEWAY_PROTOCOL "MG1004" "the protocol is not one that Istio knows"
    GATEWAY_PORT_NAME "MG1005" "each port of a Gateway has a name of its own"
    GATEWAY_NO_HOSTS "MG1006" "a server needs at least one host"
    GATEWAY_HOST "MG1007" "the host of a server is `[namespace/]name`, `*` or `*.suffix`"
    GATEWAY_TLS "MG1008" "the protocol of a server and its TLS settings do not fit together"
    GATEWAY_BIND "MG1009" "`bind` is an IP address or `unix://` and a path"
    GATEWAY_TARGET_PORT "MG1010" "`targetPort` has no effect in a Gateway"
    GATEWAY_OBJECT_NAME "MG1011" "the name of a Gateway is a DNS label"
    GATEWAY_SERVER_NAME "MG1012" "servers of one Gateway share a name"
    GATEWAY_CIPHERS "MG1013" "the TLS version and the cipher suites do not fit together"

    VIRTUAL_SERVICE_NO_HOSTS "MG2001" "a VirtualService needs at least one host"
    VIRTUAL_SERVICE_HOST "MG2002" "the host of a VirtualService is a name, an address, `*` or `*.suffix`"
    VIRTUAL_SERVICE_MESH_WILDCARD "MG2003" "`*` may not be bound to the mesh"
    VIRTUAL_SERVICE_HOSTS_OVERLAP "MG2004" "the hosts of one VirtualService may not overlap"
    VIRTUAL_SERVICE_NO_ROUTES "MG2005" "a VirtualService needs at least one rule"
    HTTP_ACTION "MG2006" "a rule has exactly one of `route`, `redirect`, `directResponse` and `delegate`"
    ROUTE_WEIGHT "MG2007" "weights are not negative, and not all of them zero"
    HTTP_REDIRECT "MG2008" "the redirect cannot be carried out"
    HTTP_DIRECT_RESPONSE "MG2009" "the direct response cannot be carried out"
    HTTP_TIMEOUT "MG2010" "a time limit is at least 1 ms"
    HTTP_MATCH "MG2011" "the match cannot be evaluated"
    REGEX "MG2012" "the pattern is not valid RE2"
    HEADER_OPERATION "MG2013" "the header cannot be changed"
    HTTP_REWRITE "MG2014" "the rewrite cannot be carried out"
    HTTP_RETRIES "MG2015" "the retry policy contradicts itself or has an unknown word"
    HTTP_FAULT "MG2016" "the fault is incomplete or out of range"
    HTTP_MIRROR "MG2017" "the mirror is incomplete or out of range"
    HTTP_CORS "MG2018" "the CORS policy is incomplete or out of range"
    HTTP_DELEGATE "MG2019" "the delegate cannot be used like this"
    GATEWAY_NAME "MG2020" "a Gateway is named by `name`, `namespace/name` or `./name`"
    UNREACHABLE_RULE "MG2021" "an earlier rule matches every request"
    DESTINATION "MG2022" "a destination needs a host, and its port and subset have to be valid"
    EXPORT_TO "MG2023" "`exportTo` takes `.`, `*`, `~` and names of namespaces"
    L4_ROUTE "MG2024" "the rule for TLS or TCP cannot be carried out"
    INEFFECTIVE_MATCH "MG2025" "an earlier match covers every request of this one"
    HEAD_TEXT "MG2026" "the text is sent in the head of a message and has a character that is not allowed there"
    PATH_SLASH "MG2050" "the path of a rewrite or redirect begins with one slash"
    PATH_NOT_SENT "MG2051" "requests with the rewritten path are answered 400"

    DESTINATION_RULE_HOST "MG3001" "the host of a DestinationRule is a name or a wildcard"
    DESTINATION_RULE_SUBSET "MG3002" "subsets have names of their own, and labels of Kubernetes"
    LOAD_BALANCER "MG3003" "the load balancer's settings exclude each other or are out of range"
    CONNECTION_POOL "MG3004" "a limit of the connection pool is out of range"
    OUTLIER_DETECTION "MG3005" "a setting of the outlier detection is out of range"
    CLIENT_TLS "MG3006" "the TLS settings do not fit together"
    PORT_LEVEL_SETTINGS "MG3007" "port settings need the number of a port, and something to set"
    TRAFFIC_POLICY "MG3008" "a traffic policy must contain a setting"
    TUNNEL "MG3009" "the tunnel cannot be opened like this"
    DESTINATION_RULE_SELECTOR "MG3010" "the selector of a DestinationRule selects by labels"

    SERVICE_ENTRY_HOSTS "MG4001" "the host of a ServiceEntry is a name or `*.suffix`"
    SERVICE_ENTRY_PORTS "MG4002" "ports have numbers and names of their own"
    SERVICE_ENTRY_RESOLUTION "MG4003" "the resolution and the endpoints do not fit together"
    SERVICE_ENTRY_ENDPOINT "MG4004" "the endpoint cannot be reached like this"
    SERVICE_ENTRY_ADDRESSES "MG4005" "an address is an IP address or a CIDR"
    SERVICE_ENTRY_SELECTOR "MG4006" "the selector of a ServiceEntry selects by labels"

    WORKLOAD_ENTRY_ADDRESS "MG5001" "a workload needs an address that can be reached"
    WORKLOAD_ENTRY_PORTS "MG5002" "the ports of a workload are 1 to 65535, and have names"
    WORKLOAD_ENTRY_LABELS "MG5003" "the labels of a workload are those of Kubernetes"

    POLICY_TARGETS "MG5012" "a policy has a selector or target references, and only those of Istio"
    JWT_RULE "MG5014" "a rule of a RequestAuthentication is incomplete"
    JWT_KEYS "MG5015" "the keys of a RequestAuthentication cannot be used"
    JWT_HEADER "MG5016" "a RequestAuthentication cannot use the header"
    AUTHORIZATION_RULE "MG5020" "a rule of an AuthorizationPolicy is incomplete or contradicts itself"
    AUTHORIZATION_VALUE "MG5021" "a value of an AuthorizationPolicy cannot be evaluated"
    AUTHORIZATION_KEY "MG5022" "the key of a condition of an AuthorizationPolicy is unknown"
    AUTHORIZATION_ACTION "MG5023" "the action of an AuthorizationPolicy does not fit its provider, rules or conditions"
}
