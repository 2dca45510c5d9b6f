"""A service for external authorization on Envoy's published definitions. The path of a request says what it does.

usage: ext_authz.py [CERTIFICATE KEY]    prints its port; serves until its input ends
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2 as auth
from envoy.service.auth.v3 import external_auth_pb2_grpc
from google.protobuf import json_format, struct_pb2, wrappers_pb2
from google.rpc import status_pb2


def header(key, value, action=None, append=None):
    option = base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=key, value=value))
    if action is not None:
        option.append_action = base_pb2.HeaderValueOption.HeaderAppendAction.Value(action)
    if append is not None:
        option.append.CopyFrom(wrappers_pb2.BoolValue(value=append))
    return option


def allow(**fields):
    return auth.CheckResponse(status=status_pb2.Status(code=0), ok_response=auth.OkHttpResponse(**fields))


def every_field():
    metadata = struct_pb2.Struct()
    metadata.update({"a": {"b": [1, "c", None]}})
    response = allow(
        headers=[
            header("x-user", "alice"),
            header("x-added", "1", append=True),
            header("x-absent", "new", "ADD_IF_ABSENT"),
            header("x-present", "new", "ADD_IF_ABSENT"),
            header("x-never", "new", "OVERWRITE_IF_EXISTS"),
            header(":path", "/evil"),
            header("host", "evil.test"),
        ],
        headers_to_remove=["x-secret", "host"],
        response_headers_to_add=[header("x-checked", "yes"), header("server", "other", "OVERWRITE_IF_EXISTS_OR_ADD")],
        query_parameters_to_set=[base_pb2.QueryParameter(key="role", value="user")],
        query_parameters_to_remove=["admin"],
    )
    response.dynamic_metadata.CopyFrom(metadata)
    return response


class Service(external_auth_pb2_grpc.AuthorizationServicer):
    def check_connection(self, attributes, context):
        """The server name of the connection says what is done."""
        name = attributes.tls_session.sni
        if name.startswith("allow"):
            return allow(headers=[header("x-user", "nobody")])
        if name.startswith("seen"):
            principal = attributes.source.principal
            return allow() if principal == "client.test" else auth.CheckResponse(status=status_pb2.Status(code=7))
        if name.startswith("slow"):
            done = threading.Event()
            context.add_callback(done.set)
            done.wait()
        if name.startswith("broken"):
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        if not name and attributes.source.address.socket_address.port_value and not attributes.source.principal:
            return allow()
        return auth.CheckResponse(status=status_pb2.Status(code=7))

    def Check(self, request, context):
        if not request.attributes.HasField("request"):
            return self.check_connection(request.attributes, context)
        http = request.attributes.request.http
        path = http.path.split("?")[0]
        if path == "/empty":
            return auth.CheckResponse()
        if path == "/every":
            return every_field()
        if path == "/deny":
            denied = auth.DeniedHttpResponse(
                headers=[header("set-cookie", "a=1"), header("set-cookie", "b=2"), header("x-why", "role")], body="go away"
            )
            denied.status.code = 401
            return auth.CheckResponse(status=status_pb2.Status(code=16), denied_response=denied)
        if path == "/error":
            error = auth.DeniedHttpResponse(body="later")
            error.status.code = 503
            return auth.CheckResponse(status=status_pb2.Status(code=14), error_response=error)
        if path == "/forbid":
            return auth.CheckResponse(status=status_pb2.Status(code=7))
        if path == "/broken":
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        if path == "/slow":
            # Until the call is given up.
            done = threading.Event()
            context.add_callback(done.set)
            done.wait()
            return auth.CheckResponse()
        if path == "/large":
            return allow(headers=[header("x-large", "a" * (2 << 20))])
        seen = json_format.MessageToJson(request, indent=None)
        return allow(headers=[header("x-seen", seen)])


def main():
    server = grpc.server(ThreadPoolExecutor(8))
    external_auth_pb2_grpc.add_AuthorizationServicer_to_server(Service(), server)
    if len(sys.argv) > 2:
        certificate, key = (open(path, "rb").read() for path in sys.argv[1:3])
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0)


main()
