const ws = new WebSocket('ws://localhost:8080/call?id=session789');
ws.onopen = () => {
// Start call (no SDP negotiation needed)
ws.send(JSON.stringify({
command: "start",
option: {
codec: "pcm", // or "pcma", "pcmu", "g722"
sampleRate: 16000,
playbook: "assistant.md",
vad: {
type: "silero",
samplerate: 16000,
speechPadding: 300,
silencePadding: 500
}
}
}));
};
// Send audio data
function sendAudio(audioData) {
// audioData is PCM16 format audio data (ArrayBuffer)
ws.send(audioData);
}
// Receive audio and events
ws.onmessage = (event) => {
if (event.data instanceof Blob || event.data instanceof ArrayBuffer) {
// Audio data
playAudio(event.data);
} else {
// JSON event
const msg = JSON.parse(event.data);
handleEvent(msg);
}
};