// What is kept of one interpreter, what it means to be inside of it, and the journal of what its tasks change in modules.
#ifndef WALLE_VM_STATE_HPP
#define WALLE_VM_STATE_HPP
#include <Python.h>

#include <atomic>

#include "walle/stop.hpp"
#include "walle/vm/budget.hpp"

namespace walle_vm {

struct Vm {
  Account account;
  PyInterpreterState* interp = nullptr;
  PyThreadState* state = nullptr;
  unsigned long thread = 0;
  PyObject *guest = nullptr, *entries = nullptr, *lines = nullptr, *output = nullptr, *stop = nullptr, *journal = nullptr;
  Py_ssize_t current = -1;
  long output_limit = -1;
  int watcher = -1;
  long shield = 0;      // how deep in compiled modules that initialise themselves
  long held_limit = 0;  // of memory, for when they are done
  // `running` and `halt.run` change with this interpreter's GIL held only
  std::atomic<bool> running{false};
  walle_stop halt = {0, 0};
  std::atomic<int> pending{0};
};

inline thread_local Vm* entered = nullptr;

// The interpreter is current while this lives; the caller's is before and after.
struct Entered {
  PyThreadState* back;
  explicit Entered(Vm* vm) : back(PyEval_SaveThread()) {
    PyEval_RestoreThread(vm->state);
    account = &vm->account;
    entered = vm;
  }
  ~Entered() {
    account = nullptr;
    entered = nullptr;
    PyEval_SaveThread();
    PyEval_RestoreThread(back);
  }
};

// Before a module's dictionary changes during a run: keeps, once per name, what it held.
inline int on_change(PyDict_WatchEvent event, PyObject* dict, PyObject* key, PyObject*) {
  Vm* vm = entered;
  if (!vm || !vm->running || !key || (event != PyDict_EVENT_ADDED && event != PyDict_EVENT_MODIFIED && event != PyDict_EVENT_DELETED))
    return 0;
  PyObject *a, *b, *c;
  PyErr_Fetch(&a, &b, &c);
  PyObject* old = event == PyDict_EVENT_ADDED ? nullptr : PyDict_GetItemWithError(dict, key);
  PyObject* name = Py_BuildValue("(NO)", PyLong_FromVoidPtr(dict), key);
  PyObject* entry = name ? PyTuple_Pack(3, dict, key, old ? old : Py_Ellipsis) : nullptr;
  if (entry) PyDict_SetDefault(vm->journal, name, entry);
  Py_XDECREF(name);
  Py_XDECREF(entry);
  PyErr_Clear();
  PyErr_Restore(a, b, c);
  return 0;
}

inline PyObject* watch(PyObject*, PyObject* dict) {
  if (!entered || PyDict_Watch(entered->watcher, dict)) return PyErr_Occurred() ? nullptr : Py_NewRef(Py_None);
  return Py_NewRef(Py_None);
}
inline PyMethodDef watch_method = {"watch", watch, METH_O, "Journals changes of a dictionary during runs."};

// While a compiled module initialises itself (depth > 0) its run is neither stopped nor refused memory: one that fails half-way
// can take the state of others with it. Sets the depth, unless it is negative; returns it.
inline PyObject* shield(PyObject*, PyObject* wanted) {
  const long depth = PyLong_AsLong(wanted);
  Vm* vm = entered;
  if (!vm || (depth == -1 && PyErr_Occurred())) return PyErr_Occurred() ? nullptr : PyLong_FromLong(0);
  if (depth < 0) return PyLong_FromLong(vm->shield);
  if (depth && !vm->shield) {
    vm->held_limit = vm->account.limit;
    vm->account.limit = 0;
    if (walle_stop_place) *walle_stop_place() = nullptr;
  } else if (!depth && vm->shield && vm->running) {
    vm->account.limit = vm->held_limit;
    if (walle_stop_place) *walle_stop_place() = &vm->halt;
  }
  vm->shield = depth;
  return PyLong_FromLong(depth);
}
inline PyMethodDef shield_method = {"shield", shield, METH_O, "Keeps a run from being stopped while a compiled module is made."};

}  // namespace walle_vm
#endif
