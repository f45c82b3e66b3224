// Values that cross from one interpreter to another: copied as marshal writes them, tensors as handles.
//
// A tensor becomes the tuple (Ellipsis, handle, shape, dtype); Ellipsis itself does not cross, so that nothing else looks
// like one. The parcel holds one reference to each storage until the other side has opened it.
#ifndef WALLE_VM_CROSSING_HPP
#define WALLE_VM_CROSSING_HPP
#include <Python.h>
#include <marshal.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "storage.hpp"

namespace walle_vm {

struct Parcel {
  char* data = nullptr;
  Py_ssize_t size = 0;
  std::vector<walle_storage*> held;
};

inline PyObject* tensor_class() {
  PyObject* module = PyImport_ImportModule("walle_core._native.tensor");
  PyObject* found = module ? PyObject_GetAttrString(module, "Tensor") : nullptr;
  Py_XDECREF(module);
  return found;
}

inline bool passes(PyObject* o) {
  return o == Py_None || PyBool_Check(o) || PyLong_CheckExact(o) || PyFloat_CheckExact(o) || PyUnicode_CheckExact(o) ||
         PyBytes_CheckExact(o) || PyComplex_CheckExact(o);
}

inline PyObject* plain_tensor(PyObject* o, Parcel& parcel) {
  PyObject *type = tensor_class(), *t = nullptr, *out = nullptr;
  if (!type) return nullptr;
  if ((PyObject*)Py_TYPE(o) == type) {
    t = Py_NewRef(o);
  } else if (PyObject* inner = PyObject_GetAttrString(o, "tensor"); inner && (PyObject*)Py_TYPE(inner) == type) {
    t = inner;
  } else {
    Py_XDECREF(inner);
    PyErr_Clear();
    if (PyObject_CheckBuffer(o)) t = PyObject_CallMethod(type, "of", "O", o);
    else PyErr_Format(PyExc_TypeError,
                      "%.100s cannot cross to or from a task; None, bool, int, float, complex, str, bytes, list, tuple, dict and "
                      "Tensor can", Py_TYPE(o)->tp_name);
  }
  Py_DECREF(type);
  if (!t) return nullptr;
  PyObject* handle = PyObject_CallMethod(t, "_reference", nullptr);
  if (!handle) {  // borrowed memory, such as a mapped file's
    PyErr_Clear();
    Py_SETREF(t, PyObject_CallMethod(t, "copy", nullptr));
    handle = t ? PyObject_CallMethod(t, "_reference", nullptr) : nullptr;
  }
  if (handle) {
    parcel.held.push_back((walle_storage*)PyLong_AsVoidPtr(handle));
    PyObject *shape = PyObject_GetAttrString(t, "shape"), *dtype = PyObject_GetAttrString(t, "dtype");
    if (shape && dtype) out = PyTuple_Pack(4, Py_Ellipsis, handle, shape, dtype);
    Py_XDECREF(shape);
    Py_XDECREF(dtype);
    Py_DECREF(handle);
  }
  Py_XDECREF(t);
  return out;
}

// The value with handles in place of tensors; the same object where there are none and it is not a container.
inline PyObject* plain(PyObject* o, Parcel& parcel) {
  if (passes(o)) return Py_NewRef(o);
  const bool tuple = PyTuple_CheckExact(o), list = PyList_CheckExact(o), dict = PyDict_CheckExact(o);
  if (!tuple && !list && !dict) return plain_tensor(o, parcel);
  if (Py_EnterRecursiveCall(" while a value crosses to another interpreter")) return nullptr;
  PyObject* out = dict ? PyDict_New() : tuple ? PyTuple_New(PyTuple_GET_SIZE(o)) : PyList_New(PyList_GET_SIZE(o));
  if (dict) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (out && PyDict_Next(o, &at, &key, &value)) {
      PyObject *k = plain(key, parcel), *v = k ? plain(value, parcel) : nullptr;
      if (!v || PyDict_SetItem(out, k, v)) Py_CLEAR(out);
      Py_XDECREF(k);
      Py_XDECREF(v);
    }
  } else {
    const Py_ssize_t n = Py_SIZE(o);
    for (Py_ssize_t i = 0; out && i < n; i++) {
      PyObject* v = plain(tuple ? PyTuple_GET_ITEM(o, i) : PyList_GET_ITEM(o, i), parcel);
      if (!v) Py_CLEAR(out);
      else if (tuple) PyTuple_SET_ITEM(out, i, v);
      else PyList_SET_ITEM(out, i, v);
    }
  }
  Py_LeaveRecursiveCall();
  return out;
}

// Fills the parcel with what marshal knows, code of this process among it. False with an exception set.
inline bool pack_trusted(PyObject* value, Parcel& parcel) {
  PyObject* bytes = PyMarshal_WriteObjectToString(value, Py_MARSHAL_VERSION);
  if (!bytes) return false;
  parcel.size = PyBytes_GET_SIZE(bytes);
  parcel.data = (char*)malloc(parcel.size + 1);
  if (parcel.data) memcpy(parcel.data, PyBytes_AS_STRING(bytes), parcel.size);
  else PyErr_NoMemory();
  Py_DECREF(bytes);
  return parcel.data;
}

// The same for a value of a task. What the parcel holds is to be dropped even if this fails.
inline bool pack(PyObject* value, Parcel& parcel) {
  PyObject* simple = plain(value, parcel);
  const bool done = simple && pack_trusted(simple, parcel);
  Py_XDECREF(simple);
  return done;
}

inline PyObject* rich(PyObject* o, PyObject* type);

inline PyObject* rich_tensor(PyObject* o, PyObject* type) {
  walle_storage* storage = (walle_storage*)PyLong_AsVoidPtr(PyTuple_GET_ITEM(o, 1));
  walle_storage_retain(storage);
  PyObject* t = PyObject_CallMethod(type, "_adopt", "OOO", PyTuple_GET_ITEM(o, 1), PyTuple_GET_ITEM(o, 2),
                                    PyTuple_GET_ITEM(o, 3));
  // never the last reference: the parcel has one
  if (!t) __atomic_sub_fetch(&storage->references, 1, __ATOMIC_ACQ_REL);
  return t;
}

inline PyObject* rich(PyObject* o, PyObject* type) {
  const bool tuple = PyTuple_CheckExact(o), list = PyList_CheckExact(o), dict = PyDict_CheckExact(o);
  if (!tuple && !list && !dict) return Py_NewRef(o);
  if (tuple && PyTuple_GET_SIZE(o) == 4 && PyTuple_GET_ITEM(o, 0) == Py_Ellipsis) return rich_tensor(o, type);
  PyObject* out = dict ? PyDict_New() : tuple ? PyTuple_New(PyTuple_GET_SIZE(o)) : PyList_New(PyList_GET_SIZE(o));
  if (dict) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (out && PyDict_Next(o, &at, &key, &value)) {
      PyObject* v = rich(value, type);
      if (!v || PyDict_SetItem(out, key, v)) Py_CLEAR(out);
      Py_XDECREF(v);
    }
  } else {
    for (Py_ssize_t i = 0; out && i < Py_SIZE(o); i++) {
      PyObject* v = rich(tuple ? PyTuple_GET_ITEM(o, i) : PyList_GET_ITEM(o, i), type);
      if (!v) Py_CLEAR(out);
      else if (tuple) PyTuple_SET_ITEM(out, i, v);
      else PyList_SET_ITEM(out, i, v);
    }
  }
  return out;
}

// The value, in the interpreter that is current. The parcel stays as it is.
inline PyObject* unpack(const Parcel& parcel) {
  PyObject* simple = PyMarshal_ReadObjectFromString(parcel.data, parcel.size);
  if (!simple || parcel.held.empty()) return simple;
  PyObject* type = tensor_class();
  PyObject* out = type ? rich(simple, type) : nullptr;
  Py_XDECREF(type);
  Py_DECREF(simple);
  return out;
}

// Gives back what the parcel holds, in the main interpreter. An exception that is set stays.
inline void drop(Parcel& parcel) {
  free(parcel.data);
  parcel.data = nullptr;
  if (parcel.held.empty()) return;
  PyObject *a, *b, *c;
  PyErr_Fetch(&a, &b, &c);
  PyObject* type = tensor_class();
  for (walle_storage* storage : parcel.held) {
    // Only the module of Tensor may free a storage: its count of live ones is that module's.
    PyObject* last = type ? PyObject_CallMethod(type, "_adopt", "N(i)s", PyLong_FromVoidPtr(storage), 0, "uint8") : nullptr;
    Py_XDECREF(last);
    PyErr_Clear();
  }
  parcel.held.clear();
  Py_XDECREF(type);
  PyErr_Restore(a, b, c);
}

}  // namespace walle_vm
#endif
