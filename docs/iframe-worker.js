// A page that was opened from the disk may start no worker: the search then runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.documentElement.append(frame)
      this.inside = frame.contentWindow
      this.inside.postMessage = data => this.tell(this, data)
      this.loaded = this.load(url)
      this.inside.importScripts = (...urls) => Promise.all(urls.map(u => this.load(u)))
    }
    load(url) {
      return new Promise((done, failed) => {
        const script = this.inside.document.createElement("script")
        Object.assign(script, {src: url, onload: done, onerror: failed})
        this.inside.document.head.append(script)
      })
    }
    tell(target, data) {
      const event = new MessageEvent("message", {data})
      target.dispatchEvent(event)
      if (target === this && this.onmessage) this.onmessage(event)
    }
    postMessage(data) {
      this.loaded.then(() => this.tell(this.inside, data))
    }
    terminate() {}
  }
}
