//! Why a token is not accepted.

macro_rules! failures {
    ($($name:ident $text:literal $doc:literal)+) => {
        /// Why a token is not accepted; displayed as the text that Envoy sends to the client.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Failure {
            $(#[doc = $doc] $name,)+
        }

        impl Failure {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The text that Envoy sends to the client.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

failures! {
    Missing "Jwt is missing" "There is none."
    NotYetValid "Jwt not yet valid" "`nbf` is later than now."
    Expired "Jwt is expired" "`exp` has passed."
    BadFormat "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections" "Not three parts, or too long."
    HeaderBase64 "Jwt header is an invalid Base64url encoded" "The header is not base64url."
    HeaderJson "Jwt header is an invalid JSON" "The header is not a JSON object, or has a name twice."
    HeaderAlg "Jwt header [alg] field is required and must be a string" "The header has no `alg`, or it is not a text."
    UnsupportedAlg "Jwt header [alg] is not supported" "The algorithm is unknown; `none` is."
    HeaderKid "Jwt header [kid] field is not a string" "The name of the key is not a text."
    HeaderCrit "Jwt header [crit] is not supported" "The header demands an extension (`crit`); Envoy passes it over."
    PayloadBase64 "Jwt payload is an invalid Base64url encoded" "The payload is not base64url."
    PayloadJson "Jwt payload is an invalid JSON" "The payload is not a JSON object, or has a name twice."
    Iss "Jwt payload [iss] field is not a string" "`iss` is not a text."
    Sub "Jwt payload [sub] field is not a string" "`sub` is not a text."
    Iat "Jwt payload [iat] field is not an integer" "`iat` is not a number."
    IatRange "Jwt payload [iat] field is not a positive integer" "`iat` is negative or too large."
    Nbf "Jwt payload [nbf] field is not an integer" "`nbf` is not a number."
    NbfRange "Jwt payload [nbf] field is not a positive integer" "`nbf` is negative or too large."
    Exp "Jwt payload [exp] field is not an integer" "`exp` is not a number."
    ExpRange "Jwt payload [exp] field is not a positive integer" "`exp` is negative or too large."
    Jti "Jwt payload [jti] field is not a string" "`jti` is not a text."
    Aud "Jwt payload [aud] field is not a string or string list" "`aud` is neither a text nor a list of texts."
    SignatureBase64 "Jwt signature is an invalid Base64url encoded" "The signature is not base64url."
    UnknownIssuer "Jwt issuer is not configured" "No provider is of the token's issuer."
    Audience "Audiences in Jwt are not allowed" "The token is for others."
    Signature "Jwt verification fails" "The signature is wrong."
    MultipleTokens "Found multiple Jwt tokens" "More tokens than are looked at."
    NoMatchingKey "Jwks doesn't have key to match kid or alg from Jwt" "No key has the token's `kid` and `alg`."
    NoKeys "Jwks doesn't have any valid public key" "The provider has no keys."
    FetchFailed "Jwks remote fetch is failed" "The keys of the provider could not be fetched so far."
}

impl Failure {
    /// Whether the token is valid but not for this audience: Envoy answers 403 then, and 401 otherwise.
    pub fn is_forbidden(self) -> bool {
        self == Self::Audience
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Failure {}
