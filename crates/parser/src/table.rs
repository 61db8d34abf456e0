//! The table of all headers that this crate knows (RFC 3261 7.3.1, 7.3.3, 20 and the extensions).
//!
//! To add a header: a row here and, if its values are to be parsed, a file under `headers/` with its `mod` line. The
//! compiler refuses a row without its file, a file without its row, and an incomplete row.

/// Calls the macro `$apply` with one row per header:
///
/// - the variant of [`crate::HeaderName`], and the name of its type if it has one;
/// - the name as the RFC that defines it spells it;
/// - the compact form, lower case, if there is one;
/// - how often the header may occur, a variant of [`crate::Occurs`];
/// - the file under `headers/` that defines the type of its values. Values of a header without one are not parsed.
macro_rules! header_table {
    ($apply:ident) => {
        $apply! {
            Via                     "Via"                       [b'v'] List  [via];
            From                    "From"                      [b'f'] Once  [from];
            To                      "To"                        [b't'] Once  [to];
            Contact                 "Contact"                   [b'm'] List  [contact];
            Route                   "Route"                     []     List  [route];
            RecordRoute             "Record-Route"              []     List  [record_route];
            Path                    "Path"                      []     List  [path];
            ServiceRoute            "Service-Route"             []     List  [service_route];
            CSeq                    "CSeq"                      []     Once  [cseq];
            CallId                  "Call-ID"                   [b'i'] Once  [call_id];
            MaxForwards             "Max-Forwards"              []     Once  [max_forwards];
            MaxBreadth              "Max-Breadth"               []     Once  [max_breadth];
            Expires                 "Expires"                   []     Once  [expires];
            MinExpires              "Min-Expires"               []     Once  [min_expires];
            Require                 "Require"                   []     List  [require];
            ProxyRequire            "Proxy-Require"             []     List  [proxy_require];
            Supported               "Supported"                 [b'k'] List  [supported];
            Unsupported             "Unsupported"               []     List  [unsupported];
            Allow                   "Allow"                     []     List  [allow];
            AllowEvents             "Allow-Events"              [b'u'] List  [];
            Accept                  "Accept"                    []     List  [accept];
            AcceptEncoding          "Accept-Encoding"           []     List  [];
            AcceptLanguage          "Accept-Language"           []     List  [];
            ContentType             "Content-Type"              [b'c'] Once  [content_type];
            ContentLength           "Content-Length"            [b'l'] Once  [content_length];
            ContentEncoding         "Content-Encoding"          [b'e'] List  [];
            ContentDisposition      "Content-Disposition"       []     Once  [];
            ContentLanguage         "Content-Language"          []     List  [];
            MimeVersion             "MIME-Version"              []     Once  [];
            Authorization           "Authorization"             []     Lines [authorization];
            ProxyAuthorization      "Proxy-Authorization"       []     Lines [proxy_authorization];
            WwwAuthenticate         "WWW-Authenticate"          []     Lines [www_authenticate];
            ProxyAuthenticate       "Proxy-Authenticate"        []     Lines [proxy_authenticate];
            AuthenticationInfo      "Authentication-Info"       []     Lines [authentication_info];
            ProxyAuthenticationInfo "Proxy-Authentication-Info" []     Lines [];
            Reason                  "Reason"                    []     List  [reason];
            Event                   "Event"                     [b'o'] Once  [event];
            SubscriptionState       "Subscription-State"        []     Once  [];
            Date                    "Date"                      []     Once  [date];
            RetryAfter              "Retry-After"               []     Once  [retry_after];
            UserAgent               "User-Agent"                []     Once  [user_agent];
            Server                  "Server"                    []     Once  [server];
            Warning                 "Warning"                   []     List  [warning];
            Timestamp               "Timestamp"                 []     Once  [timestamp];
            Subject                 "Subject"                   [b's'] Once  [];
            Organization            "Organization"              []     Once  [];
            Priority                "Priority"                  []     Once  [];
            InReplyTo               "In-Reply-To"               []     List  [];
            ReplyTo                 "Reply-To"                  []     Once  [];
            AlertInfo               "Alert-Info"                []     List  [];
            CallInfo                "Call-Info"                 []     List  [];
            ErrorInfo               "Error-Info"                []     List  [];
            RequestDisposition      "Request-Disposition"       [b'd'] List  [request_disposition];
            AcceptContact           "Accept-Contact"            [b'a'] List  [accept_contact];
            RejectContact           "Reject-Contact"            [b'j'] List  [reject_contact];
            FeatureCaps             "Feature-Caps"              []     List  [feature_caps];
            FlowTimer               "Flow-Timer"                []     Once  [flow_timer];
            HistoryInfo             "History-Info"              []     List  [history_info];
            Diversion               "Diversion"                 []     List  [diversion];
            PAssertedIdentity       "P-Asserted-Identity"       []     List  [p_asserted_identity];
            PPreferredIdentity      "P-Preferred-Identity"      []     List  [p_preferred_identity];
            RemotePartyId           "Remote-Party-ID"           []     List  [];
            Privacy                 "Privacy"                   []     Lines [privacy];
            Identity                "Identity"                  [b'y'] Lines [];
            ReferTo                 "Refer-To"                  [b'r'] Once  [];
            ReferredBy              "Referred-By"               [b'b'] Once  [];
            Replaces                "Replaces"                  []     Once  [];
            Join                    "Join"                      []     Once  [];
            RAck                    "RAck"                      []     Once  [];
            RSeq                    "RSeq"                      []     Once  [];
            SessionExpires          "Session-Expires"           [b'x'] Once  [];
            MinSe                   "Min-SE"                    []     Once  [];
            SipETag                 "SIP-ETag"                  []     Once  [];
            SipIfMatch              "SIP-If-Match"              []     Once  [];
        }
    };
}
