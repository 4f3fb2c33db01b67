"""The live feed."""

from fastapi import APIRouter, WebSocket

from services.alpine.wiring import Alpine

router = APIRouter()


@router.websocket("/ws/signals")
async def live(socket: WebSocket) -> None:
    """Signals as they come, from where the client left off."""
    alpine: Alpine = socket.app.state.alpine
    await alpine.talk.serve(socket)
