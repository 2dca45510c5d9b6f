//go:build tools

// Package tools keeps in go.mod the commands that are built from other modules, and the module with Istio's CRDs.
package tools

import (
	_ "istio.io/api/networking/v1"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
