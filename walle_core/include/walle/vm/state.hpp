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

}  // namespace walle_vm
#endif
